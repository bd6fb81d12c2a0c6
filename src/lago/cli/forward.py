"""The command `forward`."""

from __future__ import annotations

import argparse
import contextlib
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from . import output
from .machine import add_host, the_machine
from .parser import Commands

if TYPE_CHECKING:
    from ..guest.forward import Local


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "forward",
        description="Listen on the loopback address of this host and connect whoever comes with a TCP port of a "
        "machine, until Ctrl-C. Without HOSTPORT a free one is taken; one with a / is the path of a unix socket.",
    )
    add_host(parser)
    parser.add_argument("ports", nargs="+", type=_port, metavar="PORT[:HOSTPORT]", help="ports of the machine")
    parser.set_defaults(run=_forward)


def _port(text: str) -> tuple[int, Local]:
    from ..guest.forward import Local

    guest, colon, host = text.partition(":")
    if "/" in host:
        return _number(guest, 1), Local(path=host)
    return _number(guest, 1), Local(port=_number(host, 0) if colon else 0)


def _number(text: str, least: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port, a number from {least} to 65535")
    return int(text)


def _forward(args: argparse.Namespace) -> None:
    with contextlib.ExitStack() as stack:
        with the_machine(args) as vm:
            vm.must_run()
        found = [(port, stack.enter_context(vm.forward(port, local))) for port, local in args.ports]
        said = [{"vm": args.host, "port": port, "host": host, "host_port": number} for port, (host, number) in found]
        lines = [f"{place(host, number)} -> {args.host} port {port}" for port, (host, number) in found]
        serve(said, lines, args.out_format)


def place(host: str, port: int) -> str:
    """An address for a person."""
    return f"{host}:{port}" if port else host


def serve(data: Any, lines: Sequence[str], format_: output.Format) -> None:
    """Say where something is now, and return at Ctrl-C."""
    output.announce(data, lines, format_)
    with contextlib.suppress(KeyboardInterrupt):
        _sleep()


def _sleep() -> NoReturn:
    while True:
        signal.pause()
