"""Verbs and options, as the parser of the command line has them."""

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
    action: parsing.Verbs[argparse.ArgumentParser],
    choices: Mapping[str, argparse.ArgumentParser],
) -> Iterator[Verb]:
    texts = parsing.help_of(action)
    for parser in dict.fromkeys(choices.values()):
        names = [name for name, one in choices.items() if one is parser]
        inner = parsing.verbs_below(parser)
        below = _verbs(f"{before} {names[0]}", inner, inner.choices) if inner else ()
        yield Verb(tuple(f"{before} {name}" for name in names), texts.get(names[0], ""), parser, tuple(below))


def _usage(parser: argparse.ArgumentParser) -> nodes.literal_block:
    return nodes.literal_block("", parsing.usage(parser, 80), language="none")


def _sentence(text: str) -> str:
    word = text.partition(" ")[0]
    return f"{word.capitalize() if word.islower() else word}{text[len(word) :]}{'' if text.endswith('.') else '.'}"


def _arguments(parser: argparse.ArgumentParser, label: str) -> Iterator[nodes.Node]:
    shown = [action for action in parsing.actions(parser) if action.help and action.help != argparse.SUPPRESS]
    places = [one for one in shown if not one.option_strings and not isinstance(one, parsing.Verbs)]
    if places:
        yield definitions(
            ((str(one.metavar or one.dest), "", [parsing.described(parser, one)[1]]) for one in places),
            label,
        )
    flags = [one for one in shown if one in set(options_of(parser)) or one.dest == "version"]
    if flags:
        yield options((one.option_strings, *parsing.described(parser, one)) for one in flags)


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
