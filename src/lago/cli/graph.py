"""The command `graph`."""

from __future__ import annotations

import argparse
import sys

from ..errors import LagoError
from .environment import the_prefix
from .parser import Commands
from .result import Outcome

_TEXT = ("mermaid", "dot")
_IMAGES = ("svg", "png")


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "graph",
        description="Draw the environment with its addresses and what runs of it.",
    )
    parser.add_argument(
        "--format",
        choices=(*_TEXT, *_IMAGES),
        default="mermaid",
        dest="format",
        help="text for Mermaid or Graphviz, or an image (mermaid)",
    )
    parser.add_argument("--output", metavar="FILE", help="where it is written (standard output)")
    parser.set_defaults(run=_graph)


def _graph(args: argparse.Namespace) -> Outcome:
    from ..host.files import write_out
    from . import pictures

    status = the_prefix(args).status()
    if args.format in _TEXT:
        text = pictures.mermaid(status) if args.format == "mermaid" else pictures.dot(status)
        if args.output is None:
            return Outcome(text)
        write_out(args.output, text + "\n")
        return Outcome(None)
    if args.output is None and sys.stdout.isatty():
        raise LagoError("an image is nothing for a terminal", hint=f"lago graph --format {args.format} --output FILE")
    drawn = pictures.image(status, args.format)
    if args.output is None:
        sys.stdout.buffer.write(drawn)
        sys.stdout.buffer.flush()
    else:
        write_out(args.output, drawn)
    return Outcome(None)
