"""The command capsule: what failed tests left, to be opened at the instant at which they failed."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from ..constants import DEFAULT_WORKDIR
from ..errors import PrefixError
from . import output
from .parser import Commands
from .result import Outcome

if TYPE_CHECKING:
    from ..environment.capsule.opening import Opened
    from ..environment.capsule.packing import Begun
    from ..environment.capsule.shelf import Size
    from ..environment.workdir import Workdir


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    capsule = commands.add_parser(
        "capsule",
        description="A capsule holds the environments of a test, with memory, at the instant at which it failed. "
        "pytest makes one with --lago-capsule.",
    )
    do = capsule.add_subparsers(dest="what", required=True, metavar="WHAT")
    do.add_parser("list", help="list them, the one used last first").set_defaults(run=_list)
    open_ = do.add_parser("open", help="let its environments go on from there, as new ones of the workdir")
    open_.add_argument("capsule_name", metavar="NAME", help="of the capsule")
    open_.add_argument(
        "new_prefix", nargs="?", metavar="NEW_PREFIX", help="name of the new prefix (that of the capsule)"
    )
    open_.add_argument("--without-memory", action="store_true", help="take the disks alone, and boot")
    open_.set_defaults(run=_open)
    export = do.add_parser("export", help="write one to a file, for another host")
    export.add_argument("capsule_name", metavar="NAME", help="of the capsule")
    export.add_argument("file", metavar="FILE", help="a tar archive, packed by zstandard; it must not be there yet")
    export.add_argument("-s", "--standalone", action="store_true", help="with the templates, which nobody needs then")
    export.add_argument(
        "--without-memory", action="store_true", help="leave out memory; machines boot where it is opened"
    )
    export.set_defaults(run=_export)
    import_ = do.add_parser("import", help="make one of such a file")
    import_.add_argument("file", metavar="FILE", help="what export has written")
    import_.add_argument("--name", metavar="NAME", dest="new_capsule", help="of the capsule (that which it had)")
    import_.add_argument("--without-memory", action="store_true", help="leave out memory")
    import_.add_argument(
        "--restrict",
        action="store_const",
        const=True,
        help="refuse memory, which is only to be taken from those whom you trust",
    )
    import_.set_defaults(run=_import)
    prune = do.add_parser("prune", help="remove what capsule_limit has no room for, and what killed commands left")
    prune.add_argument("--all", action="store_true", help="remove all that are not open")
    prune.set_defaults(run=_prune)
    delete = do.add_parser("delete", help="remove some; environments that were opened from them stay")
    delete.add_argument("capsule_names", nargs="+", metavar="NAME", help="of a capsule")
    delete.set_defaults(run=_delete)


def _list(_args: argparse.Namespace) -> Outcome:
    from ..environment.capsule import shelf

    kept = shelf.all_of_them()
    size = shelf.sizes([one.path for one in kept])
    data = {
        one.name: {
            "test": one.about.test,
            "created": output.when(one.about.created),
            "used": output.when(one.used),
            "machines": {name: dict(inside.machines) for name, inside in one.about.environments.items()},
            "faults": {name: list(inside.faults) for name, inside in one.about.environments.items() if inside.faults},
            "imported": one.about.imported,
            "open": one.opened(),
            "own bytes on disk": size[one.path].own,
            "shared bytes on disk": size[one.path].shared,
        }
        for one in kept
    }
    rows = [
        (
            one.name,
            one.about.test,
            output.when(one.about.created, " "),
            f"{size[one.path].own >> 20}",
            f"{size[one.path].shared >> 20}",
            " ".join(vm for inside in one.about.environments.values() for vm in inside.machines),
        )
        for one in kept
    ]
    headers = ("capsule", "test", "failed", "MiB", "shared", "machines")
    return Outcome(data, show=lambda stream: output.print_table(stream, headers, rows))


def _workdir(args: argparse.Namespace) -> Workdir:
    """The workdir that is meant, or where a new one is made."""
    from ..environment.workdir import Workdir, find_workdir

    try:
        return find_workdir(args.workdir_path or os.getcwd())
    except PrefixError:
        found = Workdir(args.workdir_path or DEFAULT_WORKDIR)
        if os.path.isdir(found.path):
            raise
        return found


def _open(args: argparse.Namespace) -> Outcome:
    from ..environment.capsule import opening, shelf
    from .progress import shown

    workdir = _workdir(args)
    about = shelf.get(args.capsule_name).about
    names = [vm for inside in about.environments.values() for vm in inside.machines]
    with shown(names, sys.stderr) as on_phase:
        made = opening.open_(args.capsule_name, workdir, args.new_prefix, on_phase, memory=not args.without_memory)
    lines = [*_said(made, about.test, workdir)]
    data = {
        one.name: {
            "path": one.prefix.paths.prefix(),
            "faults": list(inside.faults) if not args.without_memory else [],
            "shells": {vm: _shell(workdir, one, vm) for vm in one.prefix.topology.domains},
        }
        for one, inside in zip(made, about.environments.values(), strict=True)
    }
    return Outcome(data, show=lambda stream: output.write("\n".join(lines), stream))


def _said(made: list[Opened], test: str, workdir: Workdir) -> Iterator[str]:
    for one in made:
        yield f"{one.name} is as it was when {test} failed"
        for vm in one.prefix.topology.domains:
            yield f"  {_shell(workdir, one, vm)}"


def _shell(workdir: Workdir, one: Opened, vm: str) -> str:
    """The command for a shell in a machine, from where we are."""
    from ..environment.workdir import find_workdir

    try:
        near_by = find_workdir(os.getcwd()).path == workdir.path
    except PrefixError:
        near_by = False
    where = "" if near_by else f"-w {shlex.quote(workdir.path)} "
    return f"lago {where}-P {shlex.quote(one.name)} shell {shlex.quote(vm)}"


def _begun(name: str) -> tuple[Any, Begun]:
    """What shows how many bytes were moved, while it is entered, and what is told of them."""
    import contextlib

    from .progress import counted

    stack = contextlib.ExitStack()
    return stack, lambda total: stack.enter_context(counted(f"{name} ({total >> 20} MiB)", sys.stderr))


def _export(args: argparse.Namespace) -> Outcome:
    from ..environment.capsule import packing

    stack, begun = _begun(f"Export {args.capsule_name}")
    with stack:
        size = packing.export(
            args.capsule_name, args.file, begun, standalone=args.standalone, memory=not args.without_memory
        )
    said = f"{args.file}: {size >> 20} MiB; elsewhere: lago capsule import {shlex.quote(os.path.basename(args.file))}"
    return Outcome({"file": os.path.abspath(args.file), "bytes": size}, show=lambda stream: output.write(said, stream))


def _import(args: argparse.Namespace) -> Outcome:
    from .. import config
    from ..environment.capsule import unpacking

    stack, begun = _begun(f"Import {args.file}")
    with stack:
        name = unpacking.import_(
            args.file,
            begun,
            name=args.new_capsule,
            memory=not args.without_memory,
            restrict=config.get("restrict") if args.restrict is None else args.restrict,
        )
    return Outcome({"name": name}, show=lambda stream: output.write(f"lago capsule open {name}", stream))


def _prune(args: argparse.Namespace) -> Outcome:
    from ..environment.capsule import shelf

    return _gone(shelf.prune(everything=args.all))


def _delete(args: argparse.Namespace) -> Outcome:
    from ..environment.capsule import shelf

    for name in args.capsule_names:
        shelf.check_there(name)
    return _gone([(name, shelf.delete(name)) for name in dict.fromkeys(args.capsule_names)])


def _gone(found: list[tuple[str, Size]]) -> Outcome:
    data = [{"name": name, "bytes freed": size.own} for name, size in found]

    def show(stream: TextIO) -> None:
        for name, size in found:
            output.write(f"{name}: {size.own >> 20} MiB", stream)

    return Outcome(data, show=show)
