"""The output formats `default`, `flat`, `json` and `yaml`, as earlier releases shaped them; and tables for people."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TextIO

from .. import plugins
from ..errors import ConfigError, printable
from ..host.suggest import near
from ..plugins.output import OutFormatPlugin
from .result import Outcome

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

_INDENT: Final = " " * 4


def default(value: Any) -> str:
    """Keys in order, one per line, `[key]:` before a mapping; what is empty is left out."""
    return "\n".join(_default_lines(value, ""))


def _default_lines(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key in sorted(value, key=str):
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
        for key in sorted(value, key=str):
            yield from _flat_lines(value[key], (*path, str(key)))
    elif isinstance(value, list | tuple):
        for number, element in enumerate(value):
            yield from _flat_lines(element, (*path, str(number)))
    else:
        yield f"{'/'.join(path)}: {value}" if path else f"{value}"


def as_json(value: Any) -> str:
    """JSON, everything kept."""
    return json.dumps(_plain(value), sort_keys=True, indent=4)


def as_yaml(value: Any) -> str:
    """YAML in block style."""
    import yaml

    text: str = yaml.dump(_plain(value), Dumper=_dumper(), default_flow_style=False, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _dumper() -> Any:
    import yaml

    class Dumper(yaml.SafeDumper):
        # An object that is there twice is written twice: readers of our output need not know YAML's anchors.
        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
            return True

    return Dumper


def _plain(value: Any) -> Any:
    """Containers of any kind as dict and list."""
    if isinstance(value, Mapping):
        return {str(key): _plain(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(element) for element in value]
    return value


class Format(OutFormatPlugin):
    """An output format and its name."""

    def __init__(self, name: str, function: Callable[[Any], str]) -> None:
        self.name = name
        self._function = function

    @property
    def for_people(self) -> bool:
        """Whether people read it, so that there may be something else in place of data."""
        return self.name == "default"

    def format(self, obj: Any) -> str:
        return self._function(obj)


FORMATS: Final[dict[str, Format]] = {
    name: Format(name, function)
    for name, function in (("default", default), ("flat", flat), ("json", as_json), ("yaml", as_yaml))
}


def names() -> list[str]:
    """Names of all formats, those of plugins too."""
    return [*FORMATS, *(entry.name for entry in plugins.entries(plugins.OUTPUT) if entry.name not in FORMATS)]


def formatter(name: str) -> Format:
    """A format by name. Raises ConfigError if there is none, or its plugin is broken."""
    if name in FORMATS:
        return FORMATS[name]
    for entry in plugins.entries(plugins.OUTPUT):
        if entry.name == name and (plugin := plugins.load_one(entry)) is not None:
            return Format(name, plugin.format)
    raise ConfigError(f"there is no output format {name}", hint=near(name, FORMATS))


def show(outcome: Outcome, format_: Format, stream: TextIO) -> None:
    """Print what a command returned."""
    if outcome.data is None:
        return
    if format_.for_people and outcome.show is not None and stream.isatty():
        outcome.show(stream)
    elif text := format_.format(outcome.data):
        write(text, stream)
    stream.flush()


def write(text: str, stream: TextIO | None = None, end: str = "\n") -> None:
    """Print text that others may have made: harmless on a terminal, and elsewhere as it is.

    All that commands print but tables is printed here.

    Args:
        stream: where to; without it to our output.
    """
    to = stream or sys.stdout
    print(printable(text) if to.isatty() else text, end=end, file=to, flush=True)


def announce(data: Any, lines: Iterable[str], format_: Format) -> None:
    """Print what somebody waits for while we go on: lines for people, or data."""
    if format_.for_people:
        write("\n".join(lines))
    else:
        show(Outcome(data), format_, sys.stdout)


def console(stream: TextIO) -> Console:
    """A console of rich that prints text as it is: names and descriptions of others may look like its markup."""
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False, emoji=False)


def cell(text: str, style: str = "") -> Text:
    """Text for a console, in a style of rich; control characters are shown and not obeyed."""
    from rich.text import Text

    return Text(printable(text), style=style)


def when(seconds: float, between: str = "T") -> str:
    """An instant as local time, to the second; `between` stands between date and time: a blank for people.

    Args:
        seconds: since 1970.
    """
    return time.strftime(f"%Y-%m-%d{between}%H:%M:%S", time.localtime(seconds))


def print_table(stream: TextIO, headers: Sequence[str | Column], rows: Iterable[Sequence[str | Text]]) -> None:
    """Print a `table`."""
    console(stream).print(table(headers, rows))


def table(headers: Sequence[str | Column], rows: Iterable[Sequence[str | Text]], **options: Any) -> Table:
    """A table for a console, of text and of what `cell` made; options as for those of rich."""
    from rich.table import Table

    made = Table(*headers, box=None, pad_edge=False, **options)
    for row in rows:
        made.add_row(*(cell(one) if isinstance(one, str) else one for one in row))
    return made
