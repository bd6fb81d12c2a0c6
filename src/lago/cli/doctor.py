"""The command `doctor`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TextIO

from . import output
from .parser import Commands
from .result import Outcome

if TYPE_CHECKING:
    from ..hypervisor.doctor import Check


def add_parsers(subparsers: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "doctor",
        description="Look at everything Lago needs of this host. Exit status 2 if something is missing.",
    )
    parser.set_defaults(run=doctor)


def doctor(args: argparse.Namespace) -> Outcome:  # noqa: ARG001
    """Look at the host."""
    from ..hypervisor.doctor import checks

    found = checks()
    failed = any(check.status == "fail" for check in found)
    return Outcome([check._asdict() for check in found], 2 if failed else 0, lambda stream: _table(found, stream))


def _table(found: list[Check], stream: TextIO) -> None:
    from rich.table import Column

    colour = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    headers = [Column(header, overflow="fold") for header in ("", "check", "found", "remedy")]
    rows = [(output.cell(one.status, colour[one.status]), one.name, one.found, one.remedy) for one in found]
    output.print_table(stream, headers, rows)
