"""The commands that bring something out of an environment: collect, export, ansible_hosts."""

from __future__ import annotations

import argparse
from typing import Any

from ..constants import DEFAULT_INIT_FILE
from .environment import the_prefix
from .parser import Commands


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the commands to the command line."""
    collect = commands.add_parser(
        "collect",
        description="Copy the artifacts that the init file names, and the logs, to DIR/VM. Machines that are down or "
        "don't answer ssh are read from their disks. A DIR that is there is renamed first.",
    )
    add_collect_options(collect)
    collect.set_defaults(run=_collect)
    export = commands.add_parser(
        "export",
        description="Write the disks of machines, and an init file over them, from which `lago init` makes the same "
        "machines with the same data.",
    )
    export.add_argument("-n", "--vm-names", nargs="+", metavar="VM_NAME", help="machines (all)")
    export.add_argument(
        "-s", "--standalone", action="store_true", help="whole disks; otherwise the template is needed elsewhere too"
    )
    export.add_argument("-c", "--compress", action="store_true", help="pack the images; they are used as they are")
    export.add_argument("-d", "--dst-dir", default=".", metavar="DIR", help="where to, made if need be (.)")
    export.add_argument(
        "--init-file-name", default=DEFAULT_INIT_FILE, metavar="NAME", help=f"of the init file ({DEFAULT_INIT_FILE})"
    )
    export.add_argument("--collect-only", action="store_true", help="only print the files that the disks are now")
    export.add_argument("--without-threads", action="store_true", help="one disk after another")
    export.set_defaults(run=_export)
    hosts = commands.add_parser(
        "ansible_hosts",
        aliases=["ansible-hosts"],
        description="An inventory of all machines, for ansible-playbook -i. With -f json it is a dynamic inventory.",
    )
    hosts.add_argument(
        "-k",
        "--keys",
        nargs="*",
        metavar="KEY",
        help="paths into the description of a machine, such as disks/0/name; each value makes a group "
        "(vm-type groups vm-provider)",
    )
    hosts.set_defaults(run=_ansible_hosts)


def add_collect_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `lago collect`."""
    parser.add_argument("--output", required=True, metavar="DIR", help="where to")
    parser.add_argument("--no-skip", action="store_true", help="fail if an artifact is not there")


def _collect(args: argparse.Namespace) -> Any:
    return the_prefix(args).collect_artifacts(args.output, ignore_nopath=not args.no_skip)


def _export(args: argparse.Namespace) -> Any:
    return the_prefix(args).export_vms(
        args.vm_names,
        standalone=args.standalone,
        export_dir=args.dst_dir,
        compress=args.compress,
        init_file_name=args.init_file_name,
        out_format="json" if args.out_format.name == "json" else "yaml",
        collect_only=args.collect_only,
        with_threads=not args.without_threads,
    )


def _ansible_hosts(args: argparse.Namespace) -> Any:
    made = the_prefix(args).ansible_inventory(args.keys)
    return made.ini() if args.out_format.name in ("default", "flat") else made.data()
