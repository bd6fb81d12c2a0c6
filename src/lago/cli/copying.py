"""The commands that copy: copy-to-vm, copy-from-vm."""

from __future__ import annotations

import argparse
import sys

from .environment import the_prefix
from .parser import Commands


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the commands to the command line."""
    to = commands.add_parser(
        "copy-to-vm",
        description="Copy into REMOTE_PATH if that is a directory of the machine, else to that name.",
    )
    to.add_argument("host", metavar="HOST")
    to.add_argument("local_paths", nargs="+", metavar="LOCAL_PATH")
    to.add_argument("remote_path", metavar="REMOTE_PATH", help="relative ones begin at the user's home")
    to.set_defaults(run=_to)
    from_ = commands.add_parser(
        "copy-from-vm",
        description="Copy into LOCAL_PATH if that is a directory, else to that name. A link of that name is replaced; "
        "one to a directory is refused, unless LOCAL_PATH ends with a slash.",
    )
    from_.add_argument("host", metavar="HOST")
    from_.add_argument("remote_path", metavar="REMOTE_PATH", help="relative ones begin at the user's home")
    from_.add_argument("local_path", metavar="LOCAL_PATH")
    from_.set_defaults(run=_from)


def _to(args: argparse.Namespace) -> None:
    from ..guest import transfer
    from ..journal.calls import doing
    from ..journal.commands import copy
    from .progress import counted
    from .shell import connect, find

    prefix = the_prefix(args)
    with doing(prefix.journal, args.command):
        guest = connect(prefix, find(prefix, args.host))
        with (
            copy(prefix.journal, guest.name, "to", ", ".join(args.local_paths), args.remote_path) as copying,
            counted(f"Copy to {guest.name}:{args.remote_path}", sys.stderr) as on_bytes,
        ):
            transfer.copy_to(guest, args.local_paths, args.remote_path, copying.counting(on_bytes))


def _from(args: argparse.Namespace) -> None:
    from ..guest import transfer
    from ..journal.calls import doing
    from ..journal.commands import copy
    from .progress import counted
    from .shell import connect, find

    prefix = the_prefix(args)
    with doing(prefix.journal, args.command):
        guest = connect(prefix, find(prefix, args.host))
        with (
            copy(prefix.journal, guest.name, "from", args.remote_path, args.local_path) as copying,
            counted(f"Copy from {guest.name}:{args.remote_path}", sys.stderr) as on_bytes,
        ):
            transfer.copy_from(guest, args.remote_path, args.local_path, copying.counting(on_bytes))
