"""Mistakes in an init file, each with its place."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from .document import Document, Fault, KeyPath


class Faults:
    """The mistakes found in one document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._found: dict[tuple[int, int, str], Fault] = {}
        for fault in document.faults:
            self.add(fault)

    def add(self, fault: Fault) -> None:
        """Note a fault; what is wrong once, behind an anchor that is used often, is told once."""
        self._found.setdefault((*fault.position, fault.message), fault)

    def below(self, path: KeyPath) -> bool:
        """Whether anything at `path` or inside it is wrong."""
        return any(fault.path[: len(path)] == path for fault in self._found.values())

    def lines(self) -> list[str]:
        """Every fault as text, in the order of the file."""
        return [self._document.line(fault) for _, fault in sorted(self._found.items(), key=lambda item: item[0])]


class At:
    """A value of the document, with its path and the means to complain about it."""

    __slots__ = ("_document", "_faults", "path", "value")

    def __init__(self, document: Document, faults: Faults, path: KeyPath, value: Any) -> None:
        self._document = document
        self._faults = faults
        self.path = path
        self.value = value

    def __getitem__(self, key: str | int) -> At:
        """The value below; of None where there is nothing."""
        try:
            value = self.value[key]
        except (KeyError, IndexError, TypeError):
            value = None
        return At(self._document, self._faults, (*self.path, key), value)

    def fault(self, message: str, *, of_key: bool = False) -> Any:
        """Report a mistake here, in the value or in its key. Returns None, which is what readers return then."""
        position = self._document.position(self.path, of_key=of_key)
        self._faults.add(Fault(position=position, path=self.path, message=message))
        return None

    def wrong(self, expected: str) -> Any:
        """Report that something else was expected here. Returns None."""
        return self.fault(f"expected {expected}, found {self.found()}")

    def sound(self) -> bool:
        """Whether no mistake was reported here or below."""
        return not self._faults.below(self.path)

    def found(self) -> str:
        """What stands here, in words."""
        value = self.value
        if value is None:
            return "nothing"
        if isinstance(value, str):
            return f"text {quoted(value)}"
        if isinstance(value, list | dict):
            return f"{'a' if value else 'an empty'} {'list' if isinstance(value, list) else 'mapping'}"
        return self.source() if isinstance(value, bool) else f"the number {self.source()}"

    def source(self) -> str:
        """A value that is no text, as the file spells it."""
        return self._document.sources.get(self.path, json.dumps(self.value))


def quoted(text: str) -> str:
    """Text in double quotes on one line, cut when long."""
    return json.dumps(text if len(text) <= 60 else text[:57] + "...", ensure_ascii=False)


_FEW = 12


def did_you_mean(word: str, known: Iterable[str], *, quote: bool = False) -> str:
    """`, did you mean X?` for the nearest of the known words, else the known words."""
    import difflib

    words = list(known)
    spell = quoted if quote else str
    lower = {w.lower(): w for w in reversed(words)}
    if near := difflib.get_close_matches(word.lower(), lower, 1, 0.6):
        return f", did you mean {spell(lower[near[0]])}?"
    if len(words) > _FEW:
        words = [*words[:_FEW], "others (lago schema has them all)"]
    return f", expected one of {', '.join(map(spell, words))}"
