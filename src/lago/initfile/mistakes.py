"""Mistakes in an init file, each with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from ..host.suggest import near
from ..topology.place import KeyPath, Place
from .document import Document, Mistake


class Mistakes:
    """The mistakes found in one document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._found: dict[tuple[int, int, str], Mistake] = {}
        for mistake in document.mistakes:
            self.add(mistake)

    def add(self, mistake: Mistake) -> None:
        """Note a mistake; what is wrong once, behind an anchor that is used often, is told once."""
        self._found.setdefault((*self._document.begin(mistake), self._document.message(mistake)), mistake)

    def below(self, path: KeyPath) -> bool:
        """Whether anything at `path` or inside it is wrong."""
        return any(mistake.at.path[: len(path)] == path for mistake in self._found.values())

    def lines(self) -> list[str]:
        """Every mistake as text, in the order of the file."""
        return [self._document.line(mistake) for _, mistake in sorted(self._found.items(), key=lambda item: item[0])]


class At:
    """A value of the document as it is read, with its path and the means to complain about it."""

    __slots__ = ("_document", "_mistakes", "path", "value")

    def __init__(self, document: Document, mistakes: Mistakes, path: KeyPath, value: Any) -> None:
        self._document = document
        self._mistakes = mistakes
        self.path = path
        self.value = value

    def __getitem__(self, key: str | int) -> At:
        """The value below; of None where there is nothing."""
        try:
            value = self.value[key]
        except (KeyError, IndexError, TypeError):
            value = None
        return At(self._document, self._mistakes, (*self.path, key), value)

    def key(self, key: str) -> At:
        """A key, to be read as if it were the value at its place."""
        return _KeyAt(self._document, self._mistakes, (*self.path, key), key)

    def place(self) -> Place:
        """The place of the spec that is read here."""
        given = self.value.items() if isinstance(self.value, dict) else ()
        return Place(self.path, frozenset(key for key, value in given if value is not None))

    def mistake(self, message: str, *, of_key: bool = False) -> Any:
        """Report a mistake here, in the value or in its key. Returns None, which is what readers return then."""
        self._mistakes.add(Mistake(Place(self.path), message, of_key=of_key))
        return None

    def wrong(self, expected: str) -> Any:
        """Report that something else was expected here. Returns None."""
        return self.mistake(f"expected {expected}, found {self.found()}")

    def sound(self) -> bool:
        """Whether no mistake was reported here or below."""
        return not self._mistakes.below(self.path)

    def found(self) -> str:
        """What stands here, in words."""
        return self._document.in_words(self.path, self.value)

    def source(self) -> str:
        """A value that is no text, as the file spells it."""
        return self._document.source(self.path, self.value)


class _KeyAt(At):
    __slots__ = ()

    def mistake(self, message: str, *, of_key: bool = True) -> Any:
        return super().mistake(message, of_key=of_key)


_FEW: Final = 12


def expected(word: str, known: Iterable[str], *, spell: Callable[[str], str] = str) -> str:
    """Return `, did you mean X?` for the nearest of the known words, else the known words."""
    rest = "others (lago schema has them all)"
    return f", {near(word, known, otherwise='expected one of ', most=_FEW, rest=rest, spell=spell)}"
