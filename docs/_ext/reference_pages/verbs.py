"""Verbs and options, as the parser of the command line has them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from lago import plugins
from lago.cli.main import build_parser
from lago.cli.settings import options_of

from .doctree import definitions, options, paragraph, section


class Verb(NamedTuple):
    """A verb.

    Attributes:
        names: how it may be spelled, each with the words before it.
        text: what `lago --help` says of it.
        below: the verbs that it has itself.
    """

    names: tuple[str, ...]
    text: str
    parser: argparse.ArgumentParser
    below: tuple[Verb, ...]


def command_line() -> tuple[argparse.ArgumentParser, tuple[Verb, ...]]:
    """The parser of all, and the verbs of this package; those of other installed packages don't belong here."""
    parser, verbs = build_parser(None)
    foreign = {entry.name for entry in plugins.entries(plugins.CLI) if entry.package != "lago"}
    choices = {name: one for name, one in verbs.choices.items() if name not in foreign}
    return parser, tuple(_verbs(parser.prog, verbs, choices))


def _verbs(
    before: str,
    action: argparse._SubParsersAction[argparse.ArgumentParser],
    choices: Mapping[str, argparse.ArgumentParser],
) -> Iterator[Verb]:
    texts = {choice.dest: choice.help or "" for choice in action._choices_actions}
    for parser in dict.fromkeys(choices.values()):
        names = [name for name, one in choices.items() if one is parser]
        inner = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
        below = [verb for one in inner for verb in _verbs(f"{before} {names[0]}", one, one.choices)]
        yield Verb(tuple(f"{before} {name}" for name in names), texts.get(names[0], ""), parser, tuple(below))


def _usage(parser: argparse.ArgumentParser) -> nodes.literal_block:
    formatter = argparse.HelpFormatter(parser.prog, width=80)
    # Named here, -h would be at the head of each.
    actions = [one for one in parser._actions if not isinstance(one, argparse._HelpAction)]
    formatter.add_usage(parser.usage, actions, parser._mutually_exclusive_groups, prefix="")
    return nodes.literal_block("", formatter.format_help().strip(), language="none")


def _sentence(text: str) -> str:
    word = text.partition(" ")[0]
    return f"{word.capitalize() if word.islower() else word}{text[len(word) :]}{'' if text.endswith('.') else '.'}"


def _arguments(parser: argparse.ArgumentParser, label: str) -> Iterator[nodes.Node]:
    formatter = argparse.HelpFormatter(parser.prog)
    shown = [action for action in parser._actions if action.help and action.help != argparse.SUPPRESS]
    places = [one for one in shown if not one.option_strings and not isinstance(one, argparse._SubParsersAction)]
    if places:
        yield definitions(
            ((str(one.metavar or one.dest), "", [formatter._expand_help(one)]) for one in places),
            label,
        )
    flags = [one for one in shown if one in set(options_of(parser)) or one.dest == "version"]
    if flags:
        yield options(
            (
                one.option_strings,
                formatter._format_args(one, one.dest.upper()) if one.nargs != 0 else "",
                formatter._expand_help(one),
            )
            for one in flags
        )


def _section(document: nodes.document, verb: Verb) -> nodes.section:
    label = nodes.make_id(verb.names[0])
    short, long = _sentence(verb.text), verb.parser.description or ""
    texts = [long] if long.startswith(short.rstrip(".")) else [short, *([long] if long else [])]
    if verb.names[1:]:
        texts.append(f"Also: {', '.join(f'`{name}`' for name in verb.names[1:])}.")
    parts = [*map(paragraph, texts), *([] if verb.below else [_usage(verb.parser)]), *_arguments(verb.parser, label)]
    return section(document, label, verb.names[0], *parts, *(_section(document, one) for one in verb.below))


class Verbs(SphinxDirective):
    """`lago-verbs`: a section for each verb."""

    def run(self) -> list[nodes.Node]:
        _, verbs = command_line()
        return [_section(self.state.document, verb) for verb in verbs]


class Options(SphinxDirective):
    """`lago-options`: the options that stand before the verb."""

    def run(self) -> list[nodes.Node]:
        parser, _ = command_line()
        return list(_arguments(parser, "lago"))
