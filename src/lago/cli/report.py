"""The command `report`."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from ..errors import LagoError
from ..log import LOG
from .environment import the_prefix
from .parser import Commands
from .result import Outcome

_NAME = "lago-report"
_ENDINGS = {"html": ".html", "perfetto": ".perfetto.json", "junit-properties": ".junit.xml"}


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "report",
        description="Write what happened in the environment, and when, to one file: a page with all machines on an "
        "axis of time, which opens from the disk in any browser.",
    )
    parser.add_argument(
        "directory", nargs="?", metavar="DIR", help="a directory with a journal.jsonl (that of the environment)"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help=f"where to; a directory, or - for standard output (./{_NAME}.html, or as the format ends)",
    )
    parser.add_argument(
        "--format",
        choices=tuple(_ENDINGS),
        default="html",
        help="a page; trace events for ui.perfetto.dev and chrome://tracing; properties for a JUnit file (html)",
    )
    parser.set_defaults(run=_report)


def _report(args: argparse.Namespace) -> Outcome:
    from ..report.write import made, write

    directory = args.directory or the_prefix(args).paths.prefix()
    if not os.path.isdir(directory):
        raise LagoError(f"{directory} is no directory", hint="lago report, or lago report DIR with a journal in DIR")
    if args.output == "-":
        text, _, left_out = made(directory, args.format)
        _tell(left_out)
        sys.stdout.write(text)
        return Outcome(None)
    name = f"{_NAME}{_ENDINGS[args.format]}"
    output = os.path.join(args.output, name) if args.output and os.path.isdir(args.output) else args.output or name
    found = write(directory, output, args.format)
    _tell(found.left_out)
    data: dict[str, Any] = found._asdict()
    return Outcome(found.file if args.out_format.for_people else data)


def _tell(left_out: int) -> None:
    if left_out:
        LOG.warning(
            "%d of the journal's lines can't be read and are not in the report, such as one that was not finished",
            left_out,
        )
