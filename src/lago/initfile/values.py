"""What the values of an init file may be, as small readers."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .. import config
from ..constants import URL_SCHEMES
from ..topology.address import Address
from ..topology.names import MOST, PART, host_name, usable
from ..topology.spec import DnsRecord
from .document import quote
from .mistakes import At
from .sections import Schema, remark


@dataclass(frozen=True, slots=True)
class Text:
    """Text on one line, exactly as the file spells it, also where YAML takes it for a number or a truth value.

    `free`: it is what it looks like, also if it looks like a placeholder.
    """

    example: str
    pattern: str = r"[^\x00-\x1f\x7f]+"
    rule: str = ""
    free: bool = False

    def read(self, at: At) -> Any:
        # YAML has changed a number already: 1.10 is 1.1.
        value = at.source() if isinstance(at.value, int | float) else at.value
        if not isinstance(value, str) or not value:
            return at.wrong(f"text such as {quote(self.example)}")
        if not self.free and at.placeholder(value):
            return None
        if not re.fullmatch(self.pattern, value):
            return at.mistake(f"{quote(value)} can't be used: {self.rule or 'text on one line is expected'}")
        return value

    def schema(self) -> Schema:
        return {"type": ["string", "number", "boolean"], "pattern": f"^(?:{self.pattern})$"}


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false, also as text."""

    def read(self, at: At) -> Any:
        truth = _truth(at.value)
        return at.wrong("true or false") if truth is None else truth

    def today(self, value: Any) -> tuple[bool, str] | None:
        return _as_truth(value)

    def schema(self) -> Schema:
        return _TRUTHS


_TRUTHS: Final[Schema] = {
    "type": ["boolean", "integer", "string"],
    "minimum": 0,
    "maximum": 1,
    # Patterns of JSON Schema have no sign for letters of both cases.
    "pattern": "^({})$".format(
        "|".join(
            "".join(f"[{letter.upper()}{letter}]" if letter.isalpha() else letter for letter in word)
            for word in ("true", "yes", "on", "1", "false", "no", "off", "0")
        )
    ),
}


def _truth(value: Any) -> bool | None:
    """Whether a value means true or false, as `"yes"` and 1 do; None if it means neither."""
    if isinstance(value, bool):
        return value
    try:
        return config.boolean(str(value))
    except ValueError:
        return None


def _as_truth(value: Any) -> tuple[bool, str] | None:
    truth = None if isinstance(value, bool) else _truth(value)
    return None if truth is None else (truth, "it is a truth value")


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from `low` to `high`."""

    low: int
    high: int
    what: str = "a whole number"

    def read(self, at: At) -> Any:
        value = at.value
        if isinstance(value, str) and re.fullmatch(_QUOTED_NUMBER, value):
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high:
            return value
        return at.wrong(f"{self.what} from {self.low} to {self.high}")

    def schema(self) -> Schema:
        pattern = f"^{_QUOTED_NUMBER}$"
        return {"type": ["integer", "string"], "minimum": self.low, "maximum": self.high, "pattern": pattern}


_QUOTED_NUMBER: Final = "[0-9]{1,9}"


_UNITS: Final = {unit: 1024**power for power, unit in enumerate(["", "K", "M", "G", "T", "P", "E"])}
_SIZE: Final = r"[0-9]+(\.[0-9]+)?[kKMmGgTtPpEe]?"
_DIGITS: Final = 19
_DECIMALS: Final = 6


@dataclass(frozen=True, slots=True)
class Size:
    """An amount of memory or disk such as `512M`, counted in `unit`s; a bare number is as many units."""

    unit: str
    low: str
    high: str
    example: str

    def read(self, at: At) -> Any:
        amount = self.amount(at.value)
        if amount is None:
            return at.wrong(f"a size such as {self.example}")
        if not self.possible(amount):
            bare = f" (a bare number counts {'MiB' if self.unit == 'M' else 'bytes'})"
            return at.mistake(f"{at.value} is out of range, from {self.low} to {self.high} is possible{bare}")
        return amount

    def amount(self, value: Any) -> int | None:
        """Return the units that a value stands for, rounded up; None if it is no size."""
        if isinstance(value, str):
            return _count(value, self.unit)
        return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**_DIGITS else None

    def possible(self, amount: int) -> bool:
        """Return whether there can be that much."""
        return (_count(self.low, self.unit) or 0) <= amount <= (_count(self.high, self.unit) or 0)

    def schema(self) -> Schema:
        return {"type": ["string", "integer"], "pattern": f"^{_SIZE}$", "minimum": 0}


# Most machines of a file have the same few sizes, and all the same limits.
@functools.lru_cache(maxsize=256)
def _count(text: str, unit: str) -> int | None:
    if not re.fullmatch(_SIZE, text):
        return None
    letter = text[-1].upper() if text[-1].isalpha() else ""
    whole, point, fraction = text.rstrip("kKMmGgTtPpEe").partition(".")
    if len(whole) > _DIGITS or len(fraction) > _DECIMALS or (point and not letter):
        return None
    scale: int = _UNITS[letter or unit]
    below: int = 10 ** len(fraction) * _UNITS[unit]
    return -(-int(whole + fraction) * scale // below)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words; `aliases` are other spellings, text or true and false, of words that the spec knows.

    `older` are what earlier manuals called words.
    """

    words: tuple[str, ...]
    aliases: Mapping[str | bool, str] = field(default_factory=dict)
    older: Mapping[str, str] = field(default_factory=dict)

    def read(self, at: At) -> Any:
        value = at.value
        if isinstance(value, str) and value in self.words:
            return value
        if isinstance(value, str) and value in self.older:
            at.warning(f"this is the old word for {self.older[value]}, write that")
            return self.older[value]
        if isinstance(value, str | bool) and value in self.aliases:
            return self.aliases[value]
        truth = _truth(value) if self._takes_truth else None
        return at.wrong(" or ".join(self.words)) if truth is None else self.aliases[truth]

    @property
    def _takes_truth(self) -> bool:
        return True in self.aliases

    def today(self, value: Any) -> tuple[str | bool, str] | None:
        if isinstance(value, str) and value in self.older:
            return self.older[value], f"its name today is {self.older[value]}"
        return _as_truth(value) if self._takes_truth and value not in self.words else None

    def schema(self) -> Schema:
        words: Schema = {"enum": [*self.words, *self.aliases]}
        return {"anyOf": [words, _TRUTHS]} if self._takes_truth else words


@dataclass(frozen=True, slots=True)
class IPv4:
    """An IPv4 address in plain form.

    `last`: earlier releases looked at its last number alone, and so took what is no address: `500.1.2.17`.
    """

    example: str
    last: bool = False

    def read(self, at: At) -> Any:
        found = Address.read(at.value) if isinstance(at.value, str) else None
        if older := self.today(at.value):
            at.warning(f"{older[1]}, write {older[0]}")
            return Address.read(older[0])
        return found or at.wrong(f"an IPv4 address such as {self.example}")

    def today(self, value: Any) -> tuple[str, str] | None:
        numbers = re.split("[.,]", value) if self.last and isinstance(value, str) and not Address.read(value) else []
        if Address.read(dotted := ".".join(numbers)):
            return dotted, "dots belong where commas stand"
        found = Address.read(f"0.0.0.{numbers[-1]}") if len(numbers) == 4 and all(map(str.isdecimal, numbers)) else None
        return None if found is None or found.of_no_machine else (found, "only the last number of this counts")

    def schema(self) -> Schema:
        return {"type": "string", "format": "ipv4"}


@dataclass(frozen=True, slots=True)
class Device:
    """A disk's device in the guest; libvirt takes one with the number of a partition, `sda3`, for the disk, `sda`."""

    text: Text

    def read(self, at: At) -> Any:
        if older := self.today(at.value):
            at.warning(f"a disk has no number, write {older[0]}")
            return older[0]
        return self.text.read(at)

    def today(self, value: Any) -> tuple[str, str] | None:
        disk = value.rstrip("0123456789") if isinstance(value, str) else ""
        return (disk, "a disk has no number") if disk != value and re.fullmatch(self.text.pattern, disk) else None

    def schema(self) -> Schema:
        return self.text.schema()


@dataclass(frozen=True, slots=True)
class Names:
    """One name, or a list of them; as a tuple without repetition."""

    item: Text

    def read(self, at: At) -> Any:
        if not isinstance(at.value, list):
            name = self.item.read(at)
            return (name,) if name else None
        return tuple(dict.fromkeys(name for i in range(len(at.value)) if (name := self.item.read(at[i]))))

    def schema(self) -> Schema:
        return {"oneOf": [self.item.schema(), {"type": "array", "items": self.item.schema()}]}


@dataclass(frozen=True, slots=True)
class Free:
    """A mapping with whatever the user likes."""

    def read(self, at: At) -> Any:
        if at.value is None or isinstance(at.value, dict):
            return at.value or {}
        return at.wrong("a mapping")

    def schema(self) -> Schema:
        return {"type": ["object", "null"]}


_FACTS: Final = ("arch", "cmdline", "distro", "root-partition", "root-password", "ssh-password", "ssh-user")


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """A mapping with what is known of an image; of that, Lago takes some for text, exactly as the file spells it."""

    def read(self, at: At) -> Any:
        given = Free().read(at)
        if not given:
            return given
        texts = {key: at[key].source() for key in _FACTS if isinstance(given.get(key), int | float)}
        return {**given, **texts}

    def schema(self) -> Schema:
        return Free().schema()


@dataclass(frozen=True, slots=True)
class Path:
    """A path on the host; variables such as `$LAGO_INITFILE_PATH`, and `~`, stand in it as they are."""

    example: str

    def read(self, at: At) -> Any:
        if not isinstance(at.value, str) or not at.value:
            return at.wrong(f"a path such as {quote(self.example)}")
        return None if at.placeholder(at.value, variables=True) else at.value

    def schema(self) -> Schema:
        return {"type": "string", "minLength": 1}


@dataclass(frozen=True, slots=True)
class Url:
    """An address; variables such as `$LAGO_INITFILE_PATH` stand in it as they are."""

    example: str

    def read(self, at: At) -> Any:
        if not isinstance(at.value, str) or not at.value.startswith(("$", *(f"{scheme}://" for scheme in URL_SCHEMES))):
            return at.wrong(f"an address such as {self.example}; {', '.join(URL_SCHEMES)} are known")
        return None if at.placeholder(at.value, variables=True) else at.value

    def schema(self) -> Schema:
        return {"type": "string", "minLength": 1}


@dataclass(frozen=True, slots=True)
class Truthy:
    """True or false; earlier Lago took any value for true that Python does."""

    def read(self, at: At) -> Any:
        if isinstance(at.value, list | dict):
            return at.wrong("true or false")
        return bool(at.value)

    def schema(self) -> Schema:
        return {"type": ["boolean", "integer", "string", "null"]}


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
            return at.mistake(f"{quote(key)} can't be the name of an XML element or @attribute", of_key=True)
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

    def schema(self) -> Schema:
        return {"type": "object", "minProperties": 1}


@dataclass(frozen=True, slots=True)
class Root:
    """`Markup` that may also be written with its root element around it."""

    markup: Markup

    def read(self, at: At) -> Any:
        if isinstance(at.value, dict) and list(at.value) == [self.markup.root]:
            return self.markup.read(at[self.markup.root])
        return self.markup.read(at)

    def schema(self) -> Schema:
        return self.markup.schema()


BUILDERS = ("virt-customize",)
"""What can change an image when it is made."""


@dataclass(frozen=True, slots=True)
class Builds:
    """A list of builders, each a mapping of its name to its options: text, a list for one given often, or nothing."""

    def read(self, at: At) -> Any:
        if not isinstance(at.value, list):
            return at.wrong("a list such as [virt-customize: {install: nginx}]")
        steps = [self._step(at[index]) for index in range(len(at.value))]
        return tuple(step for step in steps if step is not None)

    def _step(self, at: At) -> Any:
        given = [pair for pair in at.value.items() if not remark(pair[0])] if isinstance(at.value, dict) else []
        if len(given) != 1:
            return at.wrong("one builder and its options, such as virt-customize: {install: nginx}")
        [(name, options)] = given
        if name not in BUILDERS:
            return at[name].mistake(f"unknown builder, expected {' or '.join(BUILDERS)}", of_key=True)
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

    def schema(self) -> Schema:
        step = {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": False}
        options = {"type": ["object", "null"]}
        return {"type": "array", "items": {**step, "properties": dict.fromkeys(BUILDERS, options)}}


@dataclass(frozen=True, slots=True)
class MachineName:
    """The name of a machine; `reserved` are host names, in small letters, that no guest may have."""

    reserved: frozenset[str] = frozenset()

    def read(self, at: At) -> Any:
        name = str(at.value)
        if at.placeholder(name):
            return None
        if host_name(name).lower() in self.reserved:
            return at.mistake("this name is reserved, choose another")
        if Address.read(name):
            return at.mistake(f"{name} is an address, choose a name")
        if usable(name):
            return name
        nearest = self._nearest(name)
        rule = f"letters, digits, - _ and . inside; at most 63 of them between dots, {MOST} together"
        write = f"write {nearest} ({rule})" if nearest else f"use {rule}"
        return at.mistake(f"{quote(name)} can't be the name of a machine, {write}")

    def _nearest(self, name: str) -> str:
        parts = (re.sub(r"[^A-Za-z0-9_]+", "-", part).strip("-")[:63].strip("-") for part in name.split("."))
        return ".".join(part for part in parts if part.strip("_"))[:MOST].strip(".-")

    def schema(self) -> Schema:
        return {"type": "string", "pattern": rf"^{PART}(\.{PART})*$", "maxLength": MOST}


@dataclass(frozen=True, slots=True)
class HostName:
    """A name for DNS, with or without dots."""

    example: str = "www"

    def read(self, at: At) -> Any:
        name = at.value
        if not isinstance(name, str) or not name:
            return at.wrong(f"a name such as {quote(self.example)}")
        if at.placeholder(name):
            return None
        if len(name) > 253 or Address.read(name) or not re.fullmatch(rf"{PART}(\.{PART})*", name):
            return at.mistake(f"{quote(name)} is no DNS name, letters, digits and - with single dots between are")
        return name.lower()

    def schema(self) -> Schema:
        return {"type": "string"}


@dataclass(frozen=True, slots=True)
class Target:
    """What a DNS record leads to: an IPv4 or IPv6 address, or another name."""

    def read(self, at: At) -> Any:
        target = self._target(at)
        return None if target is None else DnsRecord(target=target, at=at.place())

    def _target(self, at: At) -> Any:
        text = at.value
        if isinstance(text, str) and ":" in text:
            # Imported here: hardly any file has one.
            import ipaddress

            try:
                return str(ipaddress.IPv6Address(text))
            except ValueError:
                return at.mistake(f"{quote(text)} is no IPv6 address")
        if isinstance(text, str) and re.fullmatch(r"[0-9.]+", text):
            return Address.read(text) or at.mistake(f"{quote(text)} is no IPv4 address")
        if not isinstance(text, str) or not text:
            return at.wrong('an address such as 192.168.200.7, or a name such as "vm0"')
        return HostName().read(at)

    def schema(self) -> Schema:
        return {"type": "string", "minLength": 1}
