"""The commands up and warm: everything in one go, and the second time without boot."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from . import output
from .environment import Wanted, add_init_options, wanted_prefix
from .parser import Commands
from .result import Outcome

if TYPE_CHECKING:
    from ..environment.prefix import Prefix
    from ..environment.warm import Warm


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the commands to the command line."""
    up = commands.add_parser(
        "up",
        description="Do what init, start and deploy do. An environment that is there already is only started.",
    )
    add_init_options(up)
    up.add_argument(
        "--warm",
        action="store_true",
        help="keep the result, and go on from there the next time: without boot and deploy",
    )
    up.set_defaults(run=_up)
    warm = commands.add_parser("warm")
    do = warm.add_subparsers(dest="what", required=True, metavar="WHAT")
    do.add_parser("list", help="list it").set_defaults(run=_list)
    prune = do.add_parser("prune", help="remove what warm_limit has no room for")
    prune.add_argument("--all", action="store_true", help="remove all of it")
    prune.set_defaults(run=_prune)


def _up(args: argparse.Namespace) -> None:
    from .progress import shown

    wanted = _meant(args)
    there = wanted.name in wanted.workdir.prefixes()
    prefix = wanted.workdir.get_prefix(wanted.name) if there else wanted.make()
    if there and args.set_current:
        wanted.choose()
    with shown(list(prefix.topology.domains), sys.stderr) as on_phase:
        if there:
            prefix.start(on_phase=on_phase)
        elif args.warm and not prefix.hypervisor.shared:
            _up_warm(wanted, prefix, on_phase)
        else:
            _first(prefix, on_phase)


def _meant(args: argparse.Namespace) -> Wanted:
    """The prefix that is named, or the current one, or else a new one. Raises PrefixError."""
    from ..environment.workdir import CURRENT

    wanted = wanted_prefix(args)
    there = wanted.workdir.prefixes()
    if args.prefix_name == CURRENT and not {wanted.name, wanted.workdir.chosen()}.isdisjoint(there):
        return wanted._replace(name=wanted.workdir.current())
    return wanted


def _first(prefix: Prefix, on_phase: Any) -> None:
    prefix.start(on_phase=on_phase)
    prefix.deploy(on_phase)


def _up_warm(wanted: Wanted, prefix: Prefix, on_phase: Any) -> None:
    from ..environment import fingerprint, warm

    name = fingerprint.of(wanted.init_file, prefix)
    if (kept := warm.find(name)) is not None:
        path = prefix.paths.prefix()
        prefix.destroy()
        if warm.go_on(kept, path, on_phase):
            return
        prefix = wanted._replace(keep_current=True).make()
    _first(prefix, on_phase)
    prefix.create_snapshots(warm.SNAPSHOT, description="after deploy")
    warm.keep(name, prefix)


def _list(_args: argparse.Namespace) -> Outcome:
    from ..environment import warm

    return _outcome(warm.kept())


def _prune(args: argparse.Namespace) -> Outcome:
    from ..environment import warm

    return _outcome(warm.prune(everything=args.all))


def _outcome(found: list[Warm]) -> Outcome:
    data = [{"key": one.key, "used": output.when(one.used), "bytes on disk": one.size} for one in found]
    rows = [(one.key, output.when(one.used, " "), f"{one.size >> 20}") for one in found]
    return Outcome(data, show=lambda stream: output.print_table(stream, ("key", "used", "MiB"), rows))
