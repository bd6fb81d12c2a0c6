"""Sections of an init file: mappings as tables of fields, and lists and mappings of values alike.

A reader turns the raw value `At` a place into the value that a spec holds. It reports a mistake and returns None; the
key is then what it is when absent, and what must be there is empty. Readers are plain frozen values, so that a section
says all that a program needs to describe an init file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from .mistakes import At, expected

Schema = dict[str, Any]
"""JSON Schema (2020-12) of a value."""


def remark(key: str) -> bool:
    """Whether a key is a remark for people, or the user's own: `comment`, or one that begins with `x-`."""
    return key == "comment" or key.startswith("x-")


_REMARKS: Final[Schema] = {"^x-": {}, "^comment$": {}}


class Reader(Protocol):
    """Reads one kind of value."""

    def read(self, at: At) -> Any:
        """Return the value, or None after reporting what is wrong with it."""

    def schema(self) -> Schema:
        """Return the schema of what it takes."""


@runtime_checkable
class Respelled(Protocol):
    """Reads what older files spell in another way, too."""

    def today(self, value: Any) -> tuple[str | bool, str] | None:
        """Return how a value is spelled today, and why; None if it is so, or can't be read."""


class Idle(NamedTuple):
    """Why a key of earlier Lago has no effect; `keep` its value for somebody who wants to write it elsewhere."""

    why: str
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a section: how to read it, and what it is for.

    Attributes:
        required: an example of what to write, for a key that must be there.
        empty: what stands for its value, if it must be there, when there is none that can be read.
        attribute: the attribute of the spec that has it, if not the one called like the key.
    """

    reader: Reader
    doc: str
    required: str = ""
    empty: Any = ""
    attribute: str = ""


def _plain(spec: type[Any], at: At, values: dict[str, Any]) -> Any:
    return spec(**values, at=at.place())


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping with known keys, which becomes a spec; remarks are passed over.

    Attributes:
        spec: the dataclass of the spec, which says what keys are when absent.
        make: makes the spec of its class, its place and the attributes that were read.
        gone: keys that it doesn't take, with what to do instead.
        idle: keys of earlier Lago that have no effect.
        renamed: old names of keys, with those of today.
        also: a word on what else may be there.
    """

    spec: type[Any]
    fields: Mapping[str, Field]
    make: Callable[[type[Any], At, dict[str, Any]], Any] = _plain
    gone: Mapping[str, str] = field(default_factory=dict)
    idle: Mapping[str, Idle] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    what: str = "a mapping"
    also: str = ""
    _attributes: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        found = {key: entry.attribute or key.replace("-", "_") for key, entry in self.fields.items()}
        object.__setattr__(self, "_attributes", found)

    def read(self, at: At) -> Any:
        given = {} if at.value is None else at.value
        if not isinstance(given, dict):
            return at.wrong(f"{self.what} with keys such as {', '.join(list(self.fields)[:3])}")
        for key in given:
            if key not in self.fields and not remark(key):
                self._tell_unknown(at[key], key)
        values: dict[str, Any] = {}
        for key, entry in self.fields.items():
            value = entry.reader.read(at[key]) if key in given else None
            if value is not None:
                values[self._attributes[key]] = value
            elif entry.required:
                values[self._attributes[key]] = entry.empty
                if key not in given:
                    at.mistake(f"{key} is missing, write {entry.required}")
        return self.make(self.spec, at, values)

    def _tell_unknown(self, at: At, key: str) -> None:
        nearest = expected(key, self.fields)
        if key in self.gone:
            at.mistake(self.gone[key], of_key=True)
        elif key in self.idle:
            idle = self.idle[key]
            at.warning(idle.why if idle.keep else f"{idle.why}, remove it", of_key=True)
        elif nearest.endswith("?"):
            at.mistake(f"unknown key{nearest}", of_key=True)
        elif not at.placeholder(key, of_key=True):
            # Earlier releases passed over what they did not know, and files rely on that.
            at.warning(f"unknown key{nearest}{self.also}", of_key=True)

    def schema(self) -> Schema:
        required = [key for key, entry in self.fields.items() if entry.required]
        return {
            "type": "object",
            "properties": {key: self._property(key) for key in self.fields},
            "patternProperties": _REMARKS,
            "additionalProperties": False,
            **({"required": required} if required else {}),
        }

    def _property(self, key: str) -> Schema:
        entry, attribute = self.fields[key], self._attributes[key]
        default = next((one.default for one in dataclasses.fields(self.spec) if one.name == attribute), None)
        told = {"default": default} if isinstance(default, str | int | bool) else {}
        return {"description": entry.doc, **entry.reader.schema(), **told}


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list, as a tuple without the items that are wrong."""

    item: Reader
    what: str

    def read(self, at: At) -> Any:
        if at.value is None:
            return None
        if not isinstance(at.value, list):
            return at.wrong(f"a list of {self.what}")
        read = [self.item.read(at[i]) for i in range(len(at.value))]
        return tuple(value for value in read if value is not None)

    def schema(self) -> Schema:
        return {"type": ["array", "null"], "items": self.item.schema()}


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
            self.name.read(at.key(key))
        read = {key: self.item.read(at[key]) for key in names}
        return {key: value for key, value in read.items() if value is not None}

    def names(self, given: Mapping[str, Any]) -> list[str]:
        """Return the keys that are names."""
        if not isinstance(self.item, Section):
            return list(given)
        return [key for key, value in given.items() if not remark(key) or (key == "comment" and _is_section(value))]

    def schema(self) -> Schema:
        names = {key: value for key, value in self.name.schema().items() if key != "type"}
        item = self.item.schema()
        if not isinstance(self.item, Section):
            named = {"propertyNames": names} if names else {}
            return {"type": ["object", "null"], **named, "additionalProperties": item}
        # A mapping with nothing in it is an empty one, as in `nets: {lab: }`.
        item = {**item, "type": ["object", "null"]}
        remark = {"type": ["string", "number", "boolean", "array"]}
        return {
            "type": ["object", "null"],
            "properties": {"comment": {"anyOf": [item, remark]}},
            "patternProperties": {"^x-": {}},
            **({"propertyNames": {"anyOf": [names, {"pattern": "^(x-|comment$)"}]}} if names else {}),
            "additionalProperties": item,
        }


def _is_section(value: Any) -> bool:
    return value is None or isinstance(value, dict)
