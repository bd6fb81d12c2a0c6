"""The command that records packets: capture."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from . import output
from .environment import the_prefix
from .parser import Commands
from .result import Outcome

if TYPE_CHECKING:
    from ..environment.captures.model import Capture


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    from ..environment.captures import MOST

    parser = commands.add_parser(
        "capture",
        description="Files are in the prefix's directory captures; the settings capture_size and capture_files say how "
        "much is kept. A capture goes on until capture stop, or until its net is down.",
    )
    acts = parser.add_subparsers(dest="capture_act", metavar="ACT", required=True)
    start = acts.add_parser("start", help="begin to record the packets of nets")
    start.add_argument("nets", nargs="*", metavar="NET", help="the net (all that are up)")
    start.add_argument("--filter", default="", metavar="EXPRESSION", help="packets that are recorded: 'tcp port 80'")
    start.add_argument("--snaplen", type=int, default=MOST, metavar="BYTES", help="of a packet that are kept (all)")
    start.set_defaults(run=_start)
    stop = acts.add_parser("stop", help="end that, and print the files")
    stop.add_argument("nets", nargs="*", metavar="NET", help="the net (all)")
    stop.set_defaults(run=_stop)
    shown = acts.add_parser("list", help="tell which nets are recorded, and which files there are")
    shown.add_argument("nets", nargs="*", metavar="NET", help="the net (all)")
    shown.set_defaults(run=_list)


def _start(args: argparse.Namespace) -> Outcome:
    found = the_prefix(args).start_captures(args.nets, filter=args.filter, snaplen=args.snaplen)
    return _outcome(found, args)


def _stop(args: argparse.Namespace) -> Outcome:
    return _outcome(the_prefix(args).stop_captures(args.nets), args)


def _list(args: argparse.Namespace) -> Outcome:
    from ..environment.captures import acts

    prefix = the_prefix(args)
    wanted = acts.check_names(prefix.topology, args.nets)
    return _outcome([one for one in prefix.captures() if one.net in wanted], args)


def _outcome(captures: Sequence[Capture], args: argparse.Namespace) -> Outcome:
    if args.out_format.for_people:
        return Outcome([path for one in captures for path in one.files], show=lambda stream: _table(captures, stream))
    return Outcome([_data(one) for one in captures])


def _data(one: Capture) -> dict[str, Any]:
    return {
        "net": one.net,
        "files": list(one.files),
        "bytes": one.size,
        "running": one.running,
        "since": output.when(one.since),
        "until": None if one.until is None else output.when(one.until),
        "filter": one.filter,
        "program": one.program,
        "packets": one.packets,
        "dropped": one.dropped,
        "error": one.error,
    }


def _table(captures: Sequence[Capture], stream: TextIO) -> None:
    rows = [(one.net, _how(one), output.when(one.since, " "), path) for one in captures for path in one.files]
    output.print_table(stream, ("net", "packets", "since", "file"), rows)


def _how(one: Capture) -> str:
    if one.running:
        return "running"
    text = "unknown" if one.packets is None else str(one.packets)
    more = [f"{one.dropped} dropped"] if one.dropped else []
    return ", ".join([text, *more, *([one.error] if one.error else [])])
