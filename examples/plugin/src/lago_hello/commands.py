"""Two commands: one made from a function, one from a class."""

from __future__ import annotations

import argparse
from typing import Any

from lago.environment.workdir import find_prefix
from lago.plugins.cli import CLIPlugin, cli_plugin, cli_plugin_add_argument


@cli_plugin(help="greet somebody")
@cli_plugin_add_argument("whom", nargs="?", default="world", help="whom to greet (world)")
@cli_plugin_add_argument("--loud", action="store_true", help="with an exclamation mark")
def hello(whom: str, loud: bool, **_: Any) -> None:
    """All arguments and all global options come as keywords."""
    print(f"hello {whom}{'!' if loud else ''}")


class Addresses(CLIPlugin):
    """A command that returns data, which Lago prints in the output format wanted."""

    init_args = {"help": "list the addresses of machines"}  # noqa: RUF012 - what argparse takes

    def populate_parser(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments."""
        parser.add_argument("--net", help="on this net only")

    def do_run(self, args: argparse.Namespace) -> dict[str, list[str]]:
        """Addresses by machine."""
        prefix = find_prefix(args.prefix_path, args.workdir_path, args.prefix_name)
        return {
            name: [nic.ip for nic in vm.nics if nic.ip and args.net in (None, nic.net)]
            for name, vm in prefix.topology.domains.items()
        }
