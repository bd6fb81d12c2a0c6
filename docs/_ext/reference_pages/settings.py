"""Settings, as the configuration has them."""

from __future__ import annotations

from collections.abc import Iterator

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from lago import config
from lago.cli.settings import options_of

from .commands import command_line
from .doctree import definitions


def settings() -> Iterator[tuple[str, str, list[str]]]:
    """Name, default and description of each setting of the section `[lago]`."""
    parser, _ = command_line()
    spellings = {action.dest: action.option_strings[-1] for action in options_of(parser)}
    for name, option in config.OPTIONS.items():
        default = "" if option.default in (None, "") else f"default `{_text(option.default)}`"
        ways = [f"`LAGO_{name.upper()}`", *([f"`{spellings[name]}`"] if name in spellings else [])]
        yield name, default, [option.help, ", ".join(ways)]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def sections() -> Iterator[tuple[str, str, list[str]]]:
    """Each section of a command with the names of its settings."""
    for command in command_line()[1]:
        names = [f"`{action.dest}`" for action in options_of(command.parser)]
        if names:
            yield command.names[0].removeprefix("lago "), "", [", ".join(names)]


class Settings(SphinxDirective):
    """`lago-settings`: the section `[lago]`."""

    def run(self) -> list[nodes.Node]:
        return [definitions(settings(), "setting")]


class Sections(SphinxDirective):
    """`lago-sections`: the sections of commands."""

    def run(self) -> list[nodes.Node]:
        return [definitions(sections(), "section")]
