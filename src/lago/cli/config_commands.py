"""The command `generate-config`."""

from __future__ import annotations

import argparse
import time

from .parser import Commands
from .result import Outcome


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "generate-config",
        description="Print a configuration file with all defaults, to be edited and put at ~/.config/lago/lago.conf.",
    )
    parser.add_argument("--verbose", action="store_true", help="options without a default too, as comments")
    parser.set_defaults(run=_generate)


def _generate(args: argparse.Namespace) -> Outcome:
    from .. import config
    from .main import build_parser
    from .settings import options_of

    sections = [("lago", [(name, option.default, option.help) for name, option in config.OPTIONS.items()])]
    _, commands = build_parser(None)
    for name, parser in commands.choices.items():
        options = [(action.dest, action.default, action.help or "") for action in options_of(parser)]
        sections.append((name, options))
    text = config.ini(sections, verbose=args.verbose, date=time.strftime("%Y-%m-%d"))
    return Outcome(text)
