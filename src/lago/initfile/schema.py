"""The sections of an init file as JSON Schema (2020-12), which editors check and complete files by."""

from __future__ import annotations

from typing import Any

from ..topology.names import MOST, PART
from .keys import ENVIRONMENT
from .values import (
    BUILDERS,
    Address,
    Builds,
    Choice,
    Field,
    Flag,
    Free,
    HostName,
    ListOf,
    MachineName,
    MappingOf,
    Markup,
    Names,
    Path,
    Reader,
    Root,
    Section,
    Size,
    Target,
    Text,
    Truthy,
    Url,
)
from .values import Whole as WholeNumber

_VERSION = "https://json-schema.org/draft/2020-12/schema"
_REMARKS: dict[str, Any] = {"^x-": {}, "^comment$": {}}


def schema() -> dict[str, Any]:
    """The schema of a whole init file."""
    return {"$schema": _VERSION, "title": "Lago init file", **of(ENVIRONMENT)}


def of(reader: Reader) -> dict[str, Any]:
    """The schema of what a reader takes."""
    match reader:
        case Section():
            required = [key for key, field in reader.fields.items() if field.required]
            return {
                "type": "object",
                "properties": {key: _property(field) for key, field in reader.fields.items()},
                "patternProperties": _REMARKS,
                "additionalProperties": False,
                **({"required": required} if required else {}),
            }
        case ListOf():
            return {"type": ["array", "null"], "items": of(reader.item)}
        case MappingOf():
            names = _pattern(reader.name)
            item = of(reader.item)
            if not isinstance(reader.item, Section):
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
        case Names():
            return {"oneOf": [of(reader.item), {"type": "array", "items": of(reader.item)}]}
        case Choice():
            return {"enum": [*reader.words, *reader.aliases]}
        case Flag():
            return {"type": "boolean"}
        case Truthy():
            return {"type": ["boolean", "integer", "string", "null"]}
        case WholeNumber():
            return {"type": "integer", "minimum": reader.low, "maximum": reader.high}
        case Size():
            return {"type": ["string", "integer"], "pattern": r"^[0-9]+(\.[0-9]+)?[kKMmGgTtPpEe]?$", "minimum": 0}
        case Free():
            return {"type": ["object", "null"]}
        case Root() | Markup():
            return {"type": "object", "minProperties": 1}
        case Builds():
            step = {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": False}
            options = {"type": ["object", "null"]}
            return {"type": "array", "items": {**step, "properties": dict.fromkeys(BUILDERS, options)}}
        case Address():
            return {"type": "string", "format": "ipv4"}
        case Text(bare=True):
            return {"type": ["string", "number", "boolean"], **_pattern(reader)}
        case Text() | MachineName() | HostName():
            return {"type": "string", **_pattern(reader)}
        case Path() | Target() | Url():
            return {"type": "string", "minLength": 1}
    raise TypeError(f"{type(reader).__name__} has no schema")


def _property(field: Field) -> dict[str, Any]:
    found = {"description": field.doc, **of(field.reader)}
    if isinstance(field.default, str | int | bool):
        found["default"] = field.default
    return found


def _pattern(reader: Reader) -> dict[str, Any]:
    if isinstance(reader, MachineName):
        return {"pattern": rf"^{PART}(\.{PART})*$", "maxLength": MOST}
    return {"pattern": f"^(?:{reader.pattern})$"} if isinstance(reader, Text) else {}
