"""The command `ssh-config`."""

from __future__ import annotations

import argparse
from typing import Any

from .environment import the_prefix
from .parser import Commands
from .result import Outcome


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "ssh-config",
        description="An ssh_config(5) with a block for each machine. It stays valid when the environment is stopped "
        "and started: lago ssh-config --output lab.conf; ssh -F lab.conf VM",
    )
    parser.add_argument("vm_names", nargs="*", metavar="VM", help="machines (all)")
    parser.add_argument("--output", metavar="FILE", help="where it is written (standard output)")
    parser.set_defaults(run=_ssh_config)


def _ssh_config(args: argparse.Namespace) -> Any:
    from ..guest import ssh_config
    from ..host.files import write_out

    prefix = the_prefix(args)
    prefix.resume()
    guests = [prefix.guest(name) for name in args.vm_names or prefix.topology.domains]
    text = ssh_config.config(guests, prefix.paths.prefix(), private=not prefix.hypervisor.shared)
    if args.output is None:
        return text.removesuffix("\n")
    write_out(args.output, text)
    return Outcome(None)
