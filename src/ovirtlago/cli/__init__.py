"""The command `ovirt` of `lago`, a plugin like any other."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from lago.cli.parser import PrintVersion
from lago.plugins.cli import CLIPlugin

if TYPE_CHECKING:
    from ..prefix import OvirtPrefix

FAMILIES: Final = {
    "environment": "start stop status snapshot revert engine-setup start-hosts stop-hosts start-vms stop-vms",
    "packages": "reposetup serve",
    "testing": "runtest collect deploy",
}
"""The modules of this package that add commands, and which."""


class Ovirt(CLIPlugin):
    """The command `ovirt`; each of its own sets `do`, the function that runs it and returns what is printed."""

    init_args: Mapping[str, Any] = {
        "help": "oVirt environments",
        "description": "An engine and its hosts: start them, put them to rest, give them packages, test them.",
    }

    def populate_parser(self, parser: argparse.ArgumentParser) -> None:
        from importlib import import_module

        parser.add_argument("--version", action=PrintVersion, nargs=0, help="print the version of Lago and exit")
        commands = parser.add_subparsers(title="commands", dest="ovirt_command", metavar="COMMAND", required=True)
        for family in FAMILIES:
            import_module(f".{family}", __package__).add_parsers(commands)

    def do_run(self, args: argparse.Namespace) -> Any:
        return args.do(args)


def the_prefix(args: argparse.Namespace) -> OvirtPrefix:
    """The prefix that the command line means. Raises PrefixError."""
    from lago.environment.workdir import find_prefix

    from ..prefix import OvirtPrefix

    return OvirtPrefix(find_prefix(args.prefix_path, args.workdir_path, args.prefix_name).paths.prefix())
