"""The commands that hold an instant fast: snapshot, revert, fork."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TextIO

from ..constants import SNAPSHOT_COMMANDS
from ..errors import LagoError
from ..host.suggest import near
from . import output
from .environment import the_prefix
from .parser import Commands
from .result import Outcome

if TYPE_CHECKING:
    from ..environment.prefix import Prefix
    from ..environment.snapshots.index import Snapshot


_OF_NEW_ONES: Final = ("disk_only", "description", "compress", "replace")
"""The options that only a new snapshot has."""


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the commands to the command line."""
    snapshot = commands.add_parser(
        "snapshot",
        usage="lago snapshot [--disk-only] [--description TEXT] [--compress] [--replace] NAME\n"
        "       lago snapshot list | tree | delete NAME",
        description="Machines that run stand still for a moment, their memory and disks are saved, and they go on. "
        "With one of the words list, tree and delete it is about the snapshots that there are.",
    )
    snapshot.add_argument(
        "new_snapshot", nargs="?", metavar="NAME", help="of the new snapshot; or list, tree, or delete and a NAME"
    )
    snapshot.add_argument("old_snapshot", nargs="?", help=argparse.SUPPRESS)
    do = snapshot.add_mutually_exclusive_group()
    do.add_argument("-l", "--list", action="store_true", help="list the snapshots, as the word list does")
    do.add_argument("--tree", action="store_true", help="show which snapshot came from which, as the word tree does")
    do.add_argument("--delete", metavar="NAME", help="remove a snapshot, as the word delete does")
    snapshot.add_argument("--disk-only", action="store_true", help="leave out memory; a revert then stops machines")
    snapshot.add_argument("--description", default="", metavar="TEXT", help="a note for people")
    snapshot.add_argument("--compress", action="store_true", help="pack memory: a third of the space, a slower revert")
    snapshot.add_argument("--replace", action="store_true", help="take the place of a snapshot of the same name")
    snapshot.set_defaults(run=partial(_snapshot, snapshot))
    revert = commands.add_parser("revert")
    revert.add_argument("snapshot_name", metavar="NAME", help="of the snapshot")
    revert.set_defaults(run=_revert)
    fork = commands.add_parser(
        "fork",
        description="A new prefix in the same workdir, whose machines have the same names and addresses and go on from "
        "the same instant. Neither notices the other.",
    )
    fork.add_argument("fork_name", metavar="NEW_PREFIX", help="name of the new prefix")
    fork.add_argument("--from", dest="from_snapshot", metavar="SNAPSHOT", help="the instant; without it now")
    fork.add_argument(
        "--paused", action="store_true", help="let its machines stand paused until they are used, which costs nothing"
    )
    fork.set_defaults(run=_fork)


_MEANT: Final = {
    **dict.fromkeys(("create", "new", "save", "take"), "lago snapshot {}"),
    **dict.fromkeys(("remove", "rm"), "lago snapshot delete {}"),
    **dict.fromkeys(("apply", "restore", "revert"), "lago revert {}"),
}
"""What those mean who have other words for it, by the word before a name."""


def _snapshot(parser: argparse.ArgumentParser, args: argparse.Namespace) -> Any:
    do, name = _asked(parser, args)
    prefix = the_prefix(args)
    if do == "list":
        return Outcome(_by_machine(prefix), show=lambda stream: _table(prefix, stream))
    if do == "tree":
        return Outcome(_tree(prefix), show=lambda stream: output.write(_draw(prefix), stream, end=""))
    if do == "delete":
        if not name:
            raise LagoError("snapshot delete needs the name of a snapshot", hint=near("", prefix.snapshots()))
        prefix.delete_snapshot(name)
        return None
    if not name:
        raise LagoError("snapshot needs a name", hint="lago snapshot NAME, or lago snapshot list")
    taken = prefix.create_snapshots(
        name,
        disk_only=args.disk_only,
        description=args.description,
        replace=args.replace,
        compress=args.compress,
    )
    said = f"{taken.name}: machines stood still for {taken.pause} s"
    return Outcome({"name": taken.name, "pause": taken.pause}, show=lambda stream: output.write(said, stream))


def _asked(parser: argparse.ArgumentParser, args: argparse.Namespace) -> tuple[str, str | None]:
    """What is to be done, `take` or one of SNAPSHOT_COMMANDS, and the name that goes with it. Raises LagoError."""
    first, second = args.new_snapshot, args.old_snapshot
    if second is not None and first != "delete":
        hint = _MEANT.get(first, f"{parser.prog} --help").format(second)
        raise LagoError(f"{parser.prog} {first} does not take {second}", details=parser.format_usage(), hint=hint)
    if args.list or args.tree or args.delete is not None:
        return "list" if args.list else "tree" if args.tree else "delete", args.delete
    if first not in SNAPSHOT_COMMANDS:
        return "take", first
    if not all(getattr(args, name) == parser.get_default(name) for name in _OF_NEW_ONES):
        raise LagoError(
            f"{first} can't be the name of a snapshot, `{parser.prog} {first}` means something else",
            hint="choose another name",
        )
    return first, second


def _by_machine(prefix: Prefix) -> dict[str, Any]:
    """Machine -> snapshot -> disks, as earlier releases listed them, each with how memory was saved."""
    found: dict[str, Any] = {vm: {} for vm in prefix.topology.domains}
    for one in prefix.snapshots().values():
        for vm, saved in one.vms.items():
            memory = {"memory": way} if (way := saved.way()) else {}
            found[vm][one.name] = [{"name": disk, "path": path, **memory} for disk, path in saved.disks.items()]
    return found


def _tree(prefix: Prefix) -> dict[str, Any]:
    from ..environment.snapshots.index import sizes

    size = sizes(prefix.paths, prefix.snapshots())
    return {
        one.name: {
            "parent": one.parent,
            "created": output.when(one.created),
            "description": one.description,
            "memory": _has_memory(one),
            "saved": {vm: way for vm, saved in one.vms.items() if (way := saved.way())},
            "pause": one.pause,
            "bytes on disk": size[one.name],
        }
        for one in prefix.snapshots().values()
    }


def _has_memory(one: Snapshot) -> bool:
    return any(vm.memory for vm in one.vms.values())


def _table(prefix: Prefix, stream: TextIO) -> None:
    from ..environment.snapshots.index import sizes

    rows = []
    size = sizes(prefix.paths, prefix.snapshots())
    for one in prefix.snapshots().values():
        mib = f"{size[one.name] >> 20}"
        rows.append((one.name, output.when(one.created, " "), _ways(one), mib, one.parent or "", one.description))
    output.print_table(stream, ("snapshot", "taken", "memory", "MiB", "from", ""), rows)


def _ways(one: Snapshot) -> str:
    """How memory was saved, of all machines alike or of each."""
    found = {vm: way for vm, saved in one.vms.items() if (way := saved.way())}
    if not found:
        return "no"
    ways = sorted(set(found.values()))
    if len(ways) == 1:
        return ways[0]
    return "; ".join(f"{', '.join(vm for vm in found if found[vm] == way)}: {way}" for way in ways)


def _draw(prefix: Prefix) -> str:
    """The tree of snapshots, each below the one that it came from."""
    snapshots = prefix.snapshots()
    lines: list[str] = []

    def add(parent: str | None, depth: int) -> None:
        for one in _children(snapshots.values(), parent, snapshots):
            lines.append(f"{'  ' * depth}{one.name}{f'  {one.description}' if one.description else ''}")
            add(one.name, depth + 1)

    add(None, 0)
    return "".join(f"{line}\n" for line in lines)


def _children(all_: Any, parent: str | None, known: Any) -> list[Snapshot]:
    return [one for one in all_ if (one.parent if one.parent in known else None) == parent]


def _revert(args: argparse.Namespace) -> None:
    from .progress import shown

    prefix = the_prefix(args)
    with shown(list(prefix.topology.domains), sys.stderr) as on_phase:
        prefix.revert_snapshots(args.snapshot_name, on_phase=on_phase)


def _fork(args: argparse.Namespace) -> None:
    import os

    from ..environment.workdir import Workdir
    from .progress import shown

    prefix = the_prefix(args)
    path = Workdir(os.path.dirname(prefix.paths.prefix())).free(args.fork_name)
    with shown(list(prefix.topology.domains), sys.stderr) as on_phase:
        prefix.fork(path, args.from_snapshot, on_phase, paused=args.paused)
