"""The commands of `lago ovirt` about the environment, its hosts and their virtual machines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lago.cli.parser import Commands

from . import the_prefix

if TYPE_CHECKING:
    from ..engine.contract import Engine


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the commands to the command line."""
    start = commands.add_parser(
        "start",
        help="start everything and wake it",
        description="Start all machines, wait until the engine answers, activate hosts and storage, print where its "
        "pages are.",
    )
    start.add_argument("--with-vms", action="store_true", help="start the virtual machines of the engine too")
    start.add_argument(
        "--vms-timeout", type=_seconds, default=480, metavar="SECONDS", help="that these may take to start (480)"
    )
    start.set_defaults(do=_start)
    stop = commands.add_parser(
        "stop",
        help="put everything to rest and stop it",
        description="Shut virtual machines down, put storage and hosts into maintenance, and stop all machines.",
    )
    stop.set_defaults(do=_stop)
    commands.add_parser("status", help="tell what there is and how it is").set_defaults(do=_status)
    snapshot = commands.add_parser("snapshot", help="hold everything fast while it is at rest")
    snapshot.add_argument("new_name", metavar="NAME", help="of the new snapshot")
    snapshot.add_argument("--no-restore", action="store_true", help="leave everything at rest afterwards")
    snapshot.set_defaults(do=_snapshot)
    revert = commands.add_parser("revert", help="go back to a snapshot and wake everything")
    revert.add_argument("snapshot_name", metavar="NAME", help="of the snapshot")
    revert.set_defaults(do=_revert)
    setup = commands.add_parser("engine-setup", help="set the engine up")
    setup.add_argument("--config", metavar="ANSWERS", help="file with answers; without it you are asked")
    setup.set_defaults(do=_engine_setup)
    for name, do, help_ in (
        ("start-hosts", _start_hosts, "let hosts be up"),
        ("stop-hosts", _stop_hosts, "put hosts into maintenance"),
        ("start-vms", _start_vms, "start virtual machines of the engine"),
        ("stop-vms", _stop_vms, "shut virtual machines of the engine down"),
    ):
        parser = commands.add_parser(name, help=help_)
        parser.add_argument("names_there", nargs="*", metavar="NAME", help="as the engine calls them (all)")
        parser.set_defaults(do=do)


def _seconds(text: str) -> float:
    from ..engine import waiting

    try:
        return waiting.seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _start(args: argparse.Namespace) -> dict[str, Any] | None:
    from lago.cli.progress import shown

    from ..engine import status

    prefix = the_prefix(args)
    with shown(list(prefix.topology.domains), sys.stderr) as on_phase:
        prefix.start((), on_phase)
    if prefix.virt_env.engine_vm() is None:
        return None
    with prefix.engine("Look at the engine") as engine:
        if prefix.virt_env.working_engine() is None:
            return None
        if args.with_vms:
            from ..engine import vms

            vms.start(engine, timeout=args.vms_timeout)
        return {"Engine": status.access(engine)}


def _stop(args: argparse.Namespace) -> None:
    the_prefix(args).stop()


def _status(args: argparse.Namespace) -> dict[str, Any]:
    return the_prefix(args).ovirt_status()


def _snapshot(args: argparse.Namespace) -> dict[str, Any]:
    taken = the_prefix(args).create_snapshots(args.new_name, restore=not args.no_restore)
    return {"name": taken.name, "pause": taken.pause}


def _revert(args: argparse.Namespace) -> None:
    from lago.cli.progress import shown

    prefix = the_prefix(args)
    with shown(list(prefix.topology.domains), sys.stderr) as on_phase:
        prefix.revert_snapshots(args.snapshot_name, on_phase=on_phase)


def _engine_setup(args: argparse.Namespace) -> None:
    with the_prefix(args).engine("Set the engine up") as engine:
        engine.engine_setup(args.config)


def _start_hosts(args: argparse.Namespace) -> list[str]:
    from ..engine import hosts

    return _on_the_engine(args, "Activate hosts", hosts.activate)


def _stop_hosts(args: argparse.Namespace) -> list[str]:
    from ..engine import hosts

    return _on_the_engine(args, "Deactivate hosts", hosts.deactivate)


def _start_vms(args: argparse.Namespace) -> list[str]:
    from ..engine import vms

    return _on_the_engine(args, "Start virtual machines", vms.start)


def _stop_vms(args: argparse.Namespace) -> list[str]:
    from ..engine import vms

    return _on_the_engine(args, "Stop virtual machines", vms.stop)


def _on_the_engine(args: argparse.Namespace, step: str, do: Callable[[Engine, Sequence[str]], list[str]]) -> list[str]:
    with the_prefix(args).engine(step) as engine:
        return do(engine, args.names_there)
