"""The keys of init files, as their JSON Schema has them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from lago.initfile.schema import schema

from .doctree import definitions, section

Schema = Mapping[str, Any]

_PLACES = {"domains": "VM", "nets": "NET", "files": "PATH"}
"""What stands for a name that is up to the user, by the key that has such names below it."""


def sections(path: str = "", what: Schema | None = None) -> Iterator[tuple[str, Schema]]:
    """Path and schema of each mapping whose keys are known, from the file itself inwards."""
    what = schema() if what is None else what
    yield path, what
    for key, below in what["properties"].items():
        inner, step = _inner(key, below)
        described = all("description" in one for one in inner.get("properties", {"": {}}).values())
        # A prototype has the keys of a machine.
        if described and key != "prototypes":
            yield from sections(f"{path}.{step}" if path else step, inner)


def _inner(key: str, what: Schema) -> tuple[Schema, str]:
    """The schema of what is in a list or mapping, or of the value itself, and how to spell the way to it."""
    if "items" in what:
        return what["items"], f"{key}[]"
    if isinstance(what.get("additionalProperties"), dict):
        return what["additionalProperties"], f"{key}.{_PLACES.get(key, 'NAME')}"
    return what, key


def kind(what: Schema) -> str:
    """What a value may be, in words."""
    types = [one for one in _listed(what.get("type")) if one != "null"]
    if "anyOf" in what:
        return kind(what["anyOf"][0])
    if types[:1] == ["boolean"]:
        return _WORDS["boolean"]
    if "enum" in what:
        return ", ".join(f"`{_value(one)}`" for one in what["enum"])
    if "oneOf" in what:
        return " or ".join(map(kind, what["oneOf"]))
    if types == ["array"]:
        return f"list of {_PLURALS[_listed(what['items']['type'])[0]]}"
    if isinstance(what.get("additionalProperties"), dict):
        return "mapping of names"
    if "maximum" in what:
        return f"whole number from {what['minimum']} to {what['maximum']}"
    if what.get("format") == "ipv4":
        return "IPv4 address"
    return " or ".join(_WORDS[one] for one in types)


_WORDS = {
    "object": "mapping",
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
}
_PLURALS = {"object": "mappings", "string": "texts"}


def _listed(types: Any) -> list[str]:
    return [types] if isinstance(types, str) else list(types or ())


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _about(what: Schema, *, required: bool) -> list[str]:
    more = ["Must be there."] if required else []
    more += [f"Default: `{_value(what['default'])}`"] if "default" in what else []
    return [what["description"], *more]


class Keys(SphinxDirective):
    """`lago-keys`: a section for each mapping of an init file."""

    def run(self) -> list[nodes.Node]:
        made: list[nodes.Node] = []
        for path, what in sections():
            required = what.get("required", [])
            fields = what["properties"].items()
            rows = [(key, kind(one), _about(one, required=key in required)) for key, one in fields]
            label = nodes.make_id(f"init-file {path}")
            made.append(section(self.state.document, label, path or "LagoInitFile", definitions(rows, label)))
        return made
