"""What the values of an init file may be: small readers, and sections as tables of fields.

A reader turns the raw value `At` a place into the value that a spec holds. On a mistake it reports a fault and returns
None. Readers are plain frozen values, so that a section says all that a program needs to describe an init file.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..constants import URL_SCHEMES
from ..topology.names import MOST, host_name, usable
from .faults import At, did_you_mean, quoted


def remark(key: str) -> bool:
    """Whether a key is a remark for people, or the user's own: `comment`, or one that begins with `x-`."""
    return key == "comment" or key.startswith("x-")


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


@dataclass(frozen=True, slots=True)
class Path:
    """A path on the host; variables such as `$LAGO_INITFILE_PATH`, and `~`, stand in it as they are."""

    example: str

    def read(self, at: At) -> Any:
        if not isinstance(at.value, str) or not at.value:
            return at.wrong(f"a path such as {quoted(self.example)}")
        return at.value


@dataclass(frozen=True, slots=True)
class Url:
    """An address; variables such as `$LAGO_INITFILE_PATH` stand in it as they are."""

    example: str

    def read(self, at: At) -> Any:
        if not isinstance(at.value, str) or not at.value.startswith(("$", *(f"{scheme}://" for scheme in URL_SCHEMES))):
            return at.wrong(f"an address such as {self.example}; {', '.join(URL_SCHEMES)} are known")
        return at.value


@dataclass(frozen=True, slots=True)
class Truthy:
    """True or false; earlier Lago took any value for true that Python does."""

    def read(self, at: At) -> Any:
        if isinstance(at.value, list | dict):
            return at.wrong("true or false")
        return bool(at.value)


@dataclass(frozen=True, slots=True)
class Markup:
    """A mapping that becomes XML: `@name` is an attribute, `#text` the text, any other key an element or several."""

    root: str
    what: str = "a mapping"

    def read(self, at: At) -> Any:
        if not isinstance(at.value, dict) or not at.value:
            return at.wrong(f"a mapping that becomes <{self.root}>, such as {{'@mode': host-model}}")
        return self._element(at)

    def _element(self, at: At) -> Any:
        if isinstance(at.value, dict):
            return {key: self._child(at[key], key) for key in at.value if not remark(key)}
        return self._text(at)

    def _child(self, at: At, key: str) -> Any:
        name = key.removeprefix("@")
        if key == "#text":
            return self._text(at)
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name):
            return at.fault(f"{quoted(key)} can't be the name of an XML element or @attribute", of_key=True)
        if key.startswith("@"):
            return self._text(at)
        if isinstance(at.value, list):
            return [self._element(at[i]) for i in range(len(at.value))]
        return self._element(at)

    def _text(self, at: At) -> Any:
        if isinstance(at.value, list | dict):
            return at.wrong("text or a number")
        if isinstance(at.value, bool):
            return "yes" if at.value else "no"
        return "" if at.value is None else str(at.value) if isinstance(at.value, str) else at.source()


@dataclass(frozen=True, slots=True)
class Root:
    """`Markup` that may also be written with its root element around it."""

    markup: Markup

    def read(self, at: At) -> Any:
        if isinstance(at.value, dict) and list(at.value) == [self.markup.root]:
            return self.markup.read(at[self.markup.root])
        return self.markup.read(at)


BUILDERS = ("virt-customize",)
"""What can change an image when it is made."""


@dataclass(frozen=True, slots=True)
class Builds:
    """A list of builders, each a mapping of its name to its options: text, a list for one given often, or nothing."""

    def read(self, at: At) -> Any:
        if not isinstance(at.value, list):
            return at.wrong("a list such as [virt-customize: {install: nginx}]")
        return [self._step(at[index]) for index in range(len(at.value))]

    def _step(self, at: At) -> Any:
        given = [pair for pair in at.value.items() if not remark(pair[0])] if isinstance(at.value, dict) else []
        if len(given) != 1:
            return at.wrong("one builder and its options, such as virt-customize: {install: nginx}")
        [(name, options)] = given
        if name not in BUILDERS:
            return at[name].fault(f"unknown builder, expected {' or '.join(BUILDERS)}", of_key=True)
        if options is not None and not isinstance(options, dict):
            return at[name].wrong("a mapping of options, such as {install: nginx}")
        return {name: {key: self._option(at[name][key]) for key in options or {} if not remark(key)}}

    def _option(self, at: At) -> Any:
        if isinstance(at.value, list):
            return [self._one(at[index]) for index in range(len(at.value))]
        return [self._one(at)] if at.value not in (None, "") else []

    def _one(self, at: At) -> Any:
        if isinstance(at.value, list | dict) or at.value is None:
            return at.wrong("text")
        return at.value if isinstance(at.value, str) else at.source()


@dataclass(frozen=True, slots=True)
class MachineName:
    """The name of a machine; `reserved` are host names, in small letters, that no guest may have."""

    reserved: frozenset[str] = frozenset()

    def read(self, at: At) -> Any:
        name = str(at.value)
        if host_name(name).lower() in self.reserved:
            return at.fault("this name is reserved, choose another")
        if octets(name):
            return at.fault(f"{name} is an address, choose a name")
        if usable(name):
            return name
        nearest = self._nearest(name)
        rule = f"letters, digits, - _ and . inside; at most 63 of them between dots, {MOST} together"
        write = f"write {nearest} ({rule})" if nearest else f"use {rule}"
        return at.fault(f"{quoted(name)} can't be the name of a machine, {write}")

    def _nearest(self, name: str) -> str:
        parts = (re.sub(r"[^A-Za-z0-9_]+", "-", part).strip("-")[:63].strip("-") for part in name.split("."))
        return ".".join(part for part in parts if part.strip("_"))[:MOST].strip(".-")


@dataclass(frozen=True, slots=True)
class HostName:
    """A name for DNS, with or without dots."""

    example: str = "www"

    def read(self, at: At) -> Any:
        name = at.value
        if not isinstance(name, str) or not name:
            return at.wrong(f"a name such as {quoted(self.example)}")
        label = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
        if len(name) > 253 or octets(name) or not re.fullmatch(rf"{label}(\.{label})*", name):
            return at.fault(f"{quoted(name)} is no DNS name, letters, digits and - with single dots between are")
        return name.lower()


@dataclass(frozen=True, slots=True)
class Target:
    """What a DNS record leads to: an IPv4 or IPv6 address, or another name."""

    def read(self, at: At) -> Any:
        text = at.value
        if isinstance(text, str) and ":" in text:
            # Imported here: hardly any file has one.
            import ipaddress

            try:
                return str(ipaddress.IPv6Address(text))
            except ValueError:
                return at.fault(f"{quoted(text)} is no IPv6 address")
        if isinstance(text, str) and re.fullmatch(r"[0-9.]+", text):
            return text if octets(text) else at.fault(f"{quoted(text)} is no IPv4 address")
        if not isinstance(text, str) or not text:
            return at.wrong('an address such as 192.168.200.7, or a name such as "vm0"')
        return HostName().read(at)
