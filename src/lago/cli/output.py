"""The output formats: `default`, `flat`, `json` and `yaml`, as earlier releases shaped them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TextIO

from .outcome import Outcome

_INDENT: Final = " " * 4


def default(value: Any) -> str:
    """Keys in order, one per line, `[key]:` before a mapping; what is empty is left out."""
    return "\n".join(_default_lines(value, ""))


def _default_lines(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key in sorted(value):
            yield from _default_entry(key, value[key], indent)
    elif isinstance(value, list | tuple):
        for element in value:
            yield from _default_lines(element, indent)
    else:
        yield f"{indent}{value}"


def _default_entry(key: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        if value:
            yield f"{indent}[{key}]:"
            yield from _default_lines(value, indent + _INDENT)
    elif isinstance(value, list | tuple):
        yield f"{indent}{key}: "
        yield from _default_lines(value, indent + _INDENT)
    elif value is not None and value != "":
        yield f"{indent}{key}: {value}"


def flat(value: Any) -> str:
    """One line per leaf: `path/to/key: value`; the elements of a list are numbered."""
    if isinstance(value, Mapping) and list(value) == ["Prefix"]:
        value = value["Prefix"]
    return "\n".join(_flat_lines(value, ()))


def _flat_lines(value: Any, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key in sorted(value):
            yield from _flat_lines(value[key], (*path, str(key)))
    elif isinstance(value, list | tuple):
        for number, element in enumerate(value):
            yield from _flat_lines(element, (*path, str(number)))
    else:
        yield f"{'/'.join(path)}: {value}" if path else f"{value}"


def as_json(value: Any) -> str:
    """JSON, everything kept."""
    return json.dumps(value, sort_keys=True, indent=4)


def as_yaml(value: Any) -> str:
    """YAML in block style."""
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=False, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


FORMATS: Final[dict[str, Callable[[Any], str]]] = {"default": default, "flat": flat, "json": as_json, "yaml": as_yaml}


def show(outcome: Outcome, format_: str, stream: TextIO) -> None:
    """Print what a verb returned."""
    if outcome.data is None:
        return
    if format_ == "default" and outcome.show is not None and stream.isatty():
        outcome.show(stream)
    elif text := FORMATS[format_](outcome.data):
        print(text, file=stream)
    stream.flush()
