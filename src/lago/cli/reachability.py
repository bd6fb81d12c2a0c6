"""The command reachability: who reaches whom."""

from __future__ import annotations

import argparse

from .environment import the_prefix
from .parser import Commands
from .result import Outcome


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "reachability",
        description="Ask machines which of each other they reach, by ping or, with --port, by a connection, and print "
        "a table. What a machine has for that is used; what is not known is a question mark.",
    )
    command.add_argument("vm_names", nargs="*", metavar="VM_NAME", help="machines (all)")
    command.add_argument("--port", type=int, metavar="PORT", help="a TCP port that must take a connection")
    command.add_argument("--net", metavar="NET", help="over this net only (all nets that two machines are on)")
    command.add_argument("--timeout", type=float, default=5.0, metavar="SECONDS", help="for an answer (5)")
    command.set_defaults(run=_reachability)


def _reachability(args: argparse.Namespace) -> Outcome:
    found = the_prefix(args).reachability(args.vm_names, port=args.port, net=args.net, timeout=args.timeout)
    return Outcome(str(found) if args.out_format.for_people else found.data())
