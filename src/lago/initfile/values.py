"""What the values of an init file may be: small readers, and sections as tables of fields.

A reader turns the raw value `At` a place into the value that a spec holds. On a mistake it reports a fault and returns
None. Readers are plain frozen values, so that a section says all that a program needs to describe an init file.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

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


def remark(key: str) -> bool:
    """Whether a key is a remark for people, or the user's own: `comment`, or one that begins with `x-`."""
    return key == "comment" or key.startswith("x-")


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


class Reader(Protocol):
    """Reads one kind of value."""

    def read(self, at: At) -> Any:
        """The value, or None after reporting what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a section: how to read it, what it is for, what it is when absent.

    `required` is an example of what to write, for a key that must be there.
    """

    reader: Reader
    doc: str
    default: Any = None
    required: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping with known keys; remarks are passed over.

    `gone` are keys of earlier Lago that it doesn't take any more, with what to do instead; `also` is a word on what
    else may be there.
    """

    fields: Mapping[str, Field]
    gone: Mapping[str, str] = field(default_factory=dict)
    what: str = "a mapping"
    also: str = ""

    def read(self, at: At) -> Any:
        given = {} if at.value is None else at.value
        if not isinstance(given, dict):
            return at.wrong(f"{self.what} with keys such as {', '.join(list(self.fields)[:3])}")
        for key in given:
            if key not in self.fields and not remark(key):
                self.unknown(at[key], key)
        read = {}
        for key, entry in self.fields.items():
            value = entry.reader.read(at[key]) if key in given else None
            read[key] = entry.default if value is None else value
            if entry.required and key not in given:
                at.fault(f"{key} is missing, write {entry.required}")
        return read

    def unknown(self, at: At, key: str) -> None:
        """Report a key that is none of the fields."""
        if key in self.gone:
            at.fault(self.gone[key], of_key=True)
        else:
            nearest = did_you_mean(key, self.fields)
            at.fault(f"unknown key{nearest}{'' if nearest.endswith('?') else self.also}", of_key=True)


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list; items that are wrong are None, so that the others keep their index."""

    item: Reader
    what: str

    def read(self, at: At) -> Any:
        if at.value is None:
            return None
        if not isinstance(at.value, list):
            return at.wrong(f"a list of {self.what}")
        return [self.item.read(at[i]) for i in range(len(at.value))]


@dataclass(frozen=True, slots=True)
class MappingOf:
    """A mapping from names to values, without those that are wrong.

    Where values are sections, remarks are passed over: names don't begin with `x-`, and a `comment` is one unless a
    section stands there.
    """

    name: Reader
    item: Reader
    what: str

    def read(self, at: At) -> Any:
        if at.value is None:
            return None
        if not isinstance(at.value, dict):
            return at.wrong(f"a mapping of names to {self.what}")
        names = self.names(at.value)
        for key in names:
            self.name.read(_KeyAt(at[key], key))
        read = {key: self.item.read(at[key]) for key in names}
        return {key: value for key, value in read.items() if value is not None}

    def names(self, given: Mapping[str, Any]) -> list[str]:
        """The keys that are names."""
        if not isinstance(self.item, Section):
            return list(given)
        return [key for key, value in given.items() if not remark(key) or (key == "comment" and _is_section(value))]


def _is_section(value: Any) -> bool:
    return value is None or isinstance(value, dict)


class _KeyAt(At):
    """A name, read as if it were the value at its place."""

    __slots__ = ()

    def __init__(self, at: At, key: str) -> None:
        super().__init__(at._document, at._faults, at.path, key)

    def fault(self, message: str, *, of_key: bool = True) -> Any:
        return super().fault(message, of_key=of_key)


@dataclass(frozen=True, slots=True)
class Text:
    """Text on one line.

    `bare`: also what YAML takes for a number or a truth value, exactly as the file spells it.
    """

    example: str
    pattern: str = r"[^\x00-\x1f\x7f]+"
    rule: str = ""
    bare: bool = False

    def read(self, at: At) -> Any:
        value = at.value
        if isinstance(value, int | float):
            if not self.bare:
                # YAML may have changed it already: 1.10 is the number 1.1.
                return at.fault(f'{at.source()} without quotes is not text, write "{at.source()}"')
            value = at.source()
        if not isinstance(value, str) or not value:
            return at.wrong(f"text such as {quoted(self.example)}")
        if not re.fullmatch(self.pattern, value):
            return at.fault(f"{quoted(value)} can't be used: {self.rule or 'text on one line is expected'}")
        return value


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def read(self, at: At) -> Any:
        return bool(at.value) if isinstance(at.value, bool) else at.wrong("true or false")


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from `low` to `high`."""

    low: int
    high: int
    what: str = "a whole number"

    def read(self, at: At) -> Any:
        if isinstance(at.value, int) and not isinstance(at.value, bool) and self.low <= at.value <= self.high:
            return at.value
        return at.wrong(f"{self.what} from {self.low} to {self.high}")


_UNITS = {unit: 1024**power for power, unit in enumerate(["", "K", "M", "G", "T", "P", "E"])}


@dataclass(frozen=True, slots=True)
class Size:
    """An amount of memory or disk such as `512M`, counted in `unit`s; a bare number is as many units."""

    unit: str
    low: str
    high: str
    example: str

    def read(self, at: At) -> Any:
        text = str(at.value) if isinstance(at.value, int) and not isinstance(at.value, bool) else at.value
        amount = self.count(text) if isinstance(text, str) else None
        if amount is None:
            return at.wrong(f"a size such as {self.example}")
        if not (self.count(self.low) or 0) <= amount <= (self.count(self.high) or 0):
            bare = f" (a bare number counts {'MiB' if self.unit == 'M' else 'bytes'})"
            return at.fault(f"{text} is out of range, from {self.low} to {self.high} is possible{bare}")
        return amount

    def count(self, text: str) -> int | None:
        """The units that `text` stands for, rounded up."""
        return _count(text, self.unit)


# Most machines of a file have the same few sizes, and all the same limits.
@functools.lru_cache(maxsize=256)
def _count(text: str, unit: str) -> int | None:
    match = re.fullmatch(r"([0-9]{1,19})(?:\.([0-9]{1,6}))?([kKMmGgTtPpEe]?)", text)
    if not match or (match[2] and not match[3]):
        return None
    fraction = match[2] or ""
    scale: int = _UNITS[match[3].upper() or unit]
    below: int = 10 ** len(fraction) * _UNITS[unit]
    return -(-int(match[1] + fraction) * scale // below)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words; `aliases` are other spellings, text or true and false, of words that the spec knows."""

    words: tuple[str, ...]
    aliases: Mapping[str | bool, str] = field(default_factory=dict)

    def read(self, at: At) -> Any:
        if isinstance(at.value, str | bool) and at.value in self.aliases:
            return self.aliases[at.value]
        if isinstance(at.value, str) and at.value in self.words:
            return at.value
        return at.wrong(" or ".join(self.words))


@dataclass(frozen=True, slots=True)
class Address:
    """An IPv4 address, as its four octets in plain form."""

    example: str

    def read(self, at: At) -> Any:
        if isinstance(at.value, str) and octets(at.value):
            return at.value
        return at.wrong(f"an IPv4 address such as {self.example}")


def octets(text: str) -> tuple[int, ...] | None:
    """The four numbers of an IPv4 address; None if it isn't one."""
    if not re.fullmatch(r"(0|[1-9][0-9]{0,2})(\.(0|[1-9][0-9]{0,2})){3}", text, re.ASCII):
        return None
    numbers = tuple(map(int, text.split(".")))
    return numbers if max(numbers) < 256 else None


@dataclass(frozen=True, slots=True)
class Names:
    """One name, or a list of them; as a tuple without repetition."""

    item: Text

    def read(self, at: At) -> Any:
        if not isinstance(at.value, list):
            name = self.item.read(at)
            return (name,) if name else None
        return tuple(dict.fromkeys(name for i in range(len(at.value)) if (name := self.item.read(at[i]))))


@dataclass(frozen=True, slots=True)
class Free:
    """A mapping with whatever the user likes."""

    def read(self, at: At) -> Any:
        if at.value is None or isinstance(at.value, dict):
            return at.value or {}
        return at.wrong("a mapping")
