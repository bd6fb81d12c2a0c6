"""Commands and options, as the parser of the command line has them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from lago import plugins
from lago.cli import parser as parsing
from lago.cli.main import build_parser
from lago.cli.settings import options_of

from .doctree import definitions, options, paragraph, section


class Command(NamedTuple):
    """A command.

    Attributes:
        names: how it may be spelled, each with the words before it.
        text: what `lago --help` says of it.
        below: the commands that it has itself.
    """

    names: tuple[str, ...]
    text: str
    parser: argparse.ArgumentParser
    below: tuple[Command, ...]


def command_line() -> tuple[argparse.ArgumentParser, tuple[Command, ...]]:
    """The parser of all, and the commands of this package; those of other installed packages don't belong here."""
    parser, commands = build_parser(None)
    foreign = {entry.name for entry in plugins.entries(plugins.CLI) if entry.package != "lago"}
    choices = {name: one for name, one in commands.choices.items() if name not in foreign}
    return parser, tuple(_commands(parser.prog, commands, choices))


def _commands(
    before: str,
    action: parsing.Commands[argparse.ArgumentParser],
    choices: Mapping[str, argparse.ArgumentParser],
) -> Iterator[Command]:
    texts = parsing.help_of(action)
    for parser in dict.fromkeys(choices.values()):
        names = [name for name, one in choices.items() if one is parser]
        inner = parsing.commands_below(parser)
        below = _commands(f"{before} {names[0]}", inner, inner.choices) if inner else ()
        yield Command(tuple(f"{before} {name}" for name in names), texts.get(names[0], ""), parser, tuple(below))


def _usage(parser: argparse.ArgumentParser) -> nodes.literal_block:
    return nodes.literal_block("", parsing.usage(parser, 80), language="none")


def _sentence(text: str) -> str:
    word = text.partition(" ")[0]
    return f"{word.capitalize() if word.islower() else word}{text[len(word) :]}{'' if text.endswith('.') else '.'}"


def _arguments(parser: argparse.ArgumentParser, label: str) -> Iterator[nodes.Node]:
    shown = [action for action in parsing.actions(parser) if action.help and action.help != argparse.SUPPRESS]
    places = [one for one in shown if not one.option_strings and not isinstance(one, parsing.Commands)]
    if places:
        yield definitions(
            ((str(one.metavar or one.dest), "", [parsing.describe(parser, one)[1]]) for one in places),
            label,
        )
    flags = [one for one in shown if one in set(options_of(parser)) or one.dest == "version"]
    if flags:
        yield options((one.option_strings, *parsing.describe(parser, one)) for one in flags)


def _section(document: nodes.document, command: Command) -> nodes.section:
    label = nodes.make_id(command.names[0])
    short, long = _sentence(command.text), command.parser.description or ""
    texts = [long] if long.startswith(short.rstrip(".")) else [short, *([long] if long else [])]
    if command.names[1:]:
        texts.append(f"Also: {', '.join(f'`{name}`' for name in command.names[1:])}.")
    parts = [
        *map(paragraph, texts),
        *([] if command.below else [_usage(command.parser)]),
        *_arguments(command.parser, label),
    ]
    return section(document, label, command.names[0], *parts, *(_section(document, one) for one in command.below))


class Commands(SphinxDirective):
    """`lago-commands`: a section for each command."""

    def run(self) -> list[nodes.Node]:
        _, commands = command_line()
        return [_section(self.state.document, command) for command in commands]


class Options(SphinxDirective):
    """`lago-options`: the options that stand before the command."""

    def run(self) -> list[nodes.Node]:
        parser, _ = command_line()
        return list(_arguments(parser, "lago"))
