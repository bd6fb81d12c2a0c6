"""The machine that a command is for."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..journal.calls import doing
from .environment import the_prefix

if TYPE_CHECKING:
    from ..virt import VM


def add_host(parser: argparse.ArgumentParser) -> None:
    """Add the argument that `the_machine` reads."""
    parser.add_argument("host", metavar="VM", help="the machine")


@contextlib.contextmanager
def the_machine(args: argparse.Namespace) -> Iterator[VM]:
    """Context manager: the machine that the command line names, with a libvirt to ask. Raises VMNotFound."""
    prefix = the_prefix(args)
    env = prefix.virt_env
    try:
        with doing(prefix.journal, args.command):
            yield env.get_vm(args.host)
    finally:
        env.close()
