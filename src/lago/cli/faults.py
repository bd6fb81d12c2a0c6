"""The commands that break things on purpose, and heal them: fault, heal."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from . import output
from .environment import the_prefix
from .parser import Commands, take_negative
from .result import Outcome

if TYPE_CHECKING:
    from ..environment.faults.model import Fault, Kind


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the commands to the command line."""
    from ..environment.faults.registry import KINDS

    fault = commands.add_parser(
        "fault",
        description="What is broken stays so until lago heal, a revert to before, or lago stop. lago fault list tells "
        "what is broken.",
    )
    kinds = fault.add_subparsers(dest="fault_kind", metavar="FAULT", required=True)
    kinds.add_parser("list", help="tell what is broken, and since when").set_defaults(run=_list)
    named = kinds.add_parser("named", help="what the init file has by a name among its faults, all or nothing")
    named.add_argument("fault_names", nargs="+", metavar="NAME", help="the name")
    named.set_defaults(run=_named)
    for kind in KINDS.values():
        _add_kind(kinds, kind)
    heal = commands.add_parser("heal")
    heal.add_argument("healed", nargs="*", metavar="VM|FAULT-ID", help="what is healed (all)")
    heal.set_defaults(run=_heal)


def _add_kind(kinds: Any, kind: Kind) -> None:
    parser = kinds.add_parser(kind.name, help=kind.help, description=kind.description or None)
    if kind.most != 0:
        number = kind.least if kind.least == kind.most else "+" if kind.least else "*"
        parser.add_argument("targets", nargs=number, metavar=kind.target, help="what it is about")
    for option in kind.positional:
        once = "?" if option.optional else None
        parser.add_argument(option.name, metavar=option.metavar, help=option.help, nargs=once)
    for option in kind.options:
        how: dict[str, Any] = {"action": "append" if option.many else "store", "metavar": option.metavar}
        if not option.metavar:
            how = {"action": "store_true"}
        parser.add_argument(f"--{option.name.replace('_', '-')}", dest=option.name, help=option.help, **how)
    take_negative(parser)
    parser.set_defaults(run=partial(_fault, kind))


def _fault(kind: Kind, args: argparse.Namespace) -> Outcome:
    settings = {one.name: getattr(args, one.name) for one in (*kind.positional, *kind.options)}
    broken = the_prefix(args).fault(kind.name, *getattr(args, "targets", ()), **settings)
    return _outcome(broken.faults, args)


def _named(args: argparse.Namespace) -> Outcome:
    from ..errors import LagoError
    from ..host.suggest import near

    prefix = the_prefix(args)
    known = prefix.topology.faults
    for name in args.fault_names:
        if name not in known:
            raise LagoError(f"the init file has no faults of the name {name}", hint=near(name, known))
    return _outcome(prefix.inflict(*args.fault_names).faults, args)


def _outcome(faults: Sequence[Fault], args: argparse.Namespace) -> Outcome:
    for_people = args.out_format.for_people
    data = [_labelled(one, for_people=for_people) for one in faults]
    if for_people:
        return Outcome({one.pop("id"): one for one in data}, show=lambda stream: _table(faults, stream))
    return Outcome(data)


def _labelled(fault: Fault, *, for_people: bool) -> dict[str, Any]:
    """What is printed of a fault; people need not read its parts."""
    from ..environment.faults import words

    parts = {"kind": fault.kind, "targets": list(fault.targets), "settings": dict(fault.settings)}
    return {
        "id": fault.id,
        "fault": words.spell(fault),
        **({} if for_people else parts),
        "since": output.when(fault.since),
        "means": fault.means,
    }


def _table(faults: Sequence[Fault], stream: TextIO) -> None:
    from ..environment.faults import words

    rows = [(one.id, words.spell(one), output.when(one.since, " "), one.means) for one in faults]
    output.print_table(stream, ("id", "fault", "since", "by"), rows)


def _list(args: argparse.Namespace) -> Outcome:
    return _outcome(the_prefix(args).faults(), args)


def _heal(args: argparse.Namespace) -> Outcome:
    return _outcome(the_prefix(args).heal(*args.healed), args)
