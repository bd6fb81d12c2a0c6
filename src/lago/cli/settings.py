"""Where options of commands meet the configuration: a section named after a command has defaults of its options."""

from __future__ import annotations

import argparse
import functools
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from .. import config
from ..log import LOG
from . import parser as parsing

_LIST: Final = r"[\[\]'\",]"

_GONE: Final = {("start", "wait_suspend"): "machines are never suspended at their start"}
"""What earlier releases read and nothing does now, by section and name, and why."""


class ConfiguredCommands(parsing.CommandsAction):
    """The commands; the one that is called gets its defaults from its section of the configuration."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        if values and values[0] in self.choices:
            apply(self.choices[values[0]], values[0])
        super().__call__(parser, namespace, values, option_string)
        if values and (left := parsing.not_taken(namespace)):
            self.choices[values[0]].meant(values[1:]).refuse(left, parser)


def options_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Its options, without those that only print something."""
    for action in parsing.actions(parser):
        if action.option_strings and action.dest not in ("help", "version") and action.dest != argparse.SUPPRESS:
            yield action


def apply(parser: argparse.ArgumentParser, section: str) -> None:
    """Take the defaults of options from a section of the configuration. Raises ConfigError."""
    for (where, name), why in _GONE.items():
        if where == section and (gone := config.find(name, section)) is not None:
            LOG.warning("%s: %s has no meaning any more: %s", gone.source, name, why)
    options = [*options_of(parser)]
    written = config.written() if options else {}
    for action in options:
        found = config.find(action.dest, section, written)
        if found is not None:
            value = config.read(found, action.dest, functools.partial(_read, action), action.help or "")
            parser.set_defaults(**{action.dest: value})
            action.required = False


def _read(action: argparse.Action, text: str) -> Any:
    if action.nargs == 0:
        return config.boolean(text)
    if action.nargs in ("*", "+") or isinstance(action.nargs, int):
        # `generate-config` of earlier releases wrote lists as Python does: ['a', 'b'].
        return [_one(action, word) for word in re.sub(_LIST, " ", text).split()]
    return _one(action, text)


def _one(action: argparse.Action, text: str) -> Any:
    try:
        value = action.type(text) if callable(action.type) else text
    except (argparse.ArgumentTypeError, TypeError) as error:
        raise ValueError(str(error)) from None
    if action.choices is not None and value not in action.choices:
        raise ValueError(f"expected one of {', '.join(map(str, action.choices))}")
    return value
