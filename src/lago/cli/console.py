"""The commands for what machines say on their serial consoles: console, logs."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..errors import LagoError
from . import output
from .environment import the_prefix
from .machine import add_host, the_machine
from .parser import Commands
from .result import Outcome

if TYPE_CHECKING:
    from ..guest.console_log import Follower
    from .output import Format


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the commands to the command line."""
    console = commands.add_parser(
        "console",
        description="A terminal on the serial console of a machine. Ctrl-] leaves it. What the machine says is still "
        "in its console log.",
    )
    add_host(console)
    console.add_argument("--force", action="store_true", help="take it over from somebody who is at it")
    console.set_defaults(run=_console)
    logs = commands.add_parser("logs")
    logs.add_argument("vm_names", nargs="*", metavar="VM", help="machines (all)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C, over restarts of machines too")
    logs.add_argument("-n", "--lines", type=_number, metavar="N", help="begin with the last N lines of each (all)")
    logs.set_defaults(run=_logs)


def _number(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text} is no number of lines")
    return int(text)


def _console(args: argparse.Namespace) -> None:
    with the_machine(args) as vm:
        vm.must_run()
        if not sys.stdin.isatty():
            raise LagoError(
                "a console needs a terminal, and standard input is none",
                hint=f"lago logs -f {args.host} to read it, lago shell {args.host} to run commands",
            )
        output.write(f"connected to {args.host}, Ctrl-] leaves", sys.stderr)
        ended = vm.interactive_console(sys.stdin.fileno(), sys.stdout.fileno(), force=args.force)
        output.write(f"\n{args.host} ended, or somebody took over" if ended else "", sys.stderr)


def _logs(args: argparse.Namespace) -> Outcome:
    from ..guest import console_log

    prefix = the_prefix(args)
    names = [prefix.domain(name).name for name in args.vm_names or prefix.topology.domains]
    paths = {name: prefix.paths.console_log(name) for name in names}
    show = _plain(several=len(paths) > 1) if args.out_format.for_people else _formatted(args.out_format)
    if args.follow:
        with console_log.Follower(paths) as follower, contextlib.suppress(KeyboardInterrupt):
            _follow(follower, args.lines, show)
        return Outcome(None)
    found = {name: console_log.tail(path, args.lines) for name, path in paths.items()}
    if not args.out_format.for_people:
        return Outcome(found)
    for name, lines in found.items():
        show(name, lines)
    return Outcome(None)


Show = Callable[[str, Sequence[str]], None]


def _plain(*, several: bool) -> Show:
    def show(name: str, lines: Sequence[str]) -> None:
        output.write("".join(f"{name}: {line}\n" if several else f"{line}\n" for line in lines), end="")

    return show


def _formatted(format_: Format) -> Show:
    """Each line on its own, since nobody knows when the last one comes; JSON is one object a line."""

    def show(name: str, lines: Sequence[str]) -> None:
        for line in lines:
            data = {name: line}
            output.write(json.dumps(data) if format_.name == "json" else format_.format(data))

    return show


def _follow(follower: Follower, number: int | None, show: Show) -> None:
    begun = set()
    while True:
        for name, lines in follower.lines():
            show(name, lines if name in begun or number is None else lines[max(0, len(lines) - number) :])
            begun.add(name)
        if follower.gone:
            return
        follower.wait()
