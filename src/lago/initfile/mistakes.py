"""Mistakes in an init file, each with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from ..errors import Finding
from ..host.suggest import near
from ..topology.place import KeyPath, Place
from . import placeholders
from .document import Document, Mistake


class Mistakes:
    """The mistakes found in one document, and what else is told of it.

    Args:
        strict: warnings are mistakes.
    """

    def __init__(self, document: Document, *, strict: bool = False) -> None:
        self._document = document
        self._strict = strict
        self._found: dict[tuple[int, int, str], Mistake] = {}
        for mistake in document.mistakes:
            self.add(mistake)

    def add(self, mistake: Mistake) -> None:
        """Note a mistake; what is wrong once, behind an anchor that is used often, is told once."""
        if self._strict and mistake.kind == "warning":
            mistake = replace(mistake, kind="mistake")
        self._found.setdefault((*self._document.begin(mistake), self._document.message(mistake)), mistake)

    def below(self, path: KeyPath) -> bool:
        """Whether anything at `path` or inside it is wrong."""
        return any(one.kind == "mistake" and one.at.path[: len(path)] == path for one in self._found.values())

    def findings(self) -> list[Finding]:
        """All that was found, in the order of the file."""
        found = [one for _, one in sorted(self._found.items(), key=lambda item: item[0])]
        return [self._document.finding(one) for one in [one for one in found if one.alone][:1] or found]

    def lines(self) -> list[str]:
        """Every mistake as text, in the order of the file."""
        return [str(finding) for finding in self.findings() if finding.kind == "mistake"]


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
        if not self.placeholder(self.path[-1] if of_key and self.path else self.value, of_key=of_key):
            self._mistakes.add(Mistake(Place(self.path), message, of_key=of_key))
        return None

    def warning(self, message: str, *, of_key: bool = False) -> None:
        """Report something odd here, in the value or in its key."""
        self._mistakes.add(Mistake(Place(self.path), message, of_key=of_key, kind="warning"))

    def placeholder(self, text: Any, *, variables: bool = False, of_key: bool = False) -> bool:
        """Report that a text here is still to be rendered, and return whether it is.

        Args:
            variables: such as `${NAME}` may stand there.
        """
        message = placeholders.told(text, variables=variables) if isinstance(text, str) else ""
        if message:
            self._mistakes.add(Mistake(Place(self.path), message, of_key=of_key, alone=True))
        return bool(message)

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

    def placeholder(self, text: Any, *, variables: bool = False, of_key: bool = True) -> bool:
        return super().placeholder(text, variables=variables, of_key=of_key)


_FEW: Final = 12


def expected(word: str, known: Iterable[str], *, spell: Callable[[str], str] = str) -> str:
    """Return `, did you mean X?` for the nearest of the known words, else the known words."""
    rest = "others (lago schema has them all)"
    return f", {near(word, known, otherwise='expected one of ', most=_FEW, rest=rest, spell=spell)}"
