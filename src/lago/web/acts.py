"""What the page can do with an environment, and what it is told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ..environment.faults import words
from ..environment.faults.registry import KINDS
from ..environment.prefix import Prefix
from ..environment.workdir import Workdir
from ..errors import LagoError
from ..host import shape

_TEXT: Final = shape.text()


def facts(prefix: Prefix) -> dict[str, Any]:
    """What there is and what runs, without passwords."""
    found = prefix.status()
    snapshots = prefix.snapshots()
    return {
        "uuid": found.uuid,
        "path": found.path,
        "machines": {
            name: {
                "state": vm.state,
                "distro": vm.distro,
                "nics": [{"net": nic.net, "ip": nic.ip} for nic in vm.nics.values()],
            }
            for name, vm in found.machines.items()
        },
        "networks": {name: {"state": net.state, "gateway": net.gateway} for name, net in found.networks.items()},
        "snapshots": [
            {
                "name": one.name,
                "parent": one.parent if one.parent in snapshots else None,
                "created": one.created,
                "description": one.description,
                "memory": any(vm.memory for vm in one.vms.values()),
                "bytes": found.snapshots.get(one.name, 0),
            }
            for one in snapshots.values()
        ],
        "faults": [{"id": one.id, "words": words.spell(one), "since": one.since} for one in found.faults],
        "kinds": [{"name": kind.name, "help": kind.help, "target": kind.target} for kind in KINDS.values()],
        "named": sorted(prefix.topology.faults),
        "paused": found.paused,
    }


def _snapshot(prefix: Prefix, given: Mapping[str, Any]) -> str:
    taken = prefix.create_snapshots(given["name"], description=given.get("description", ""))
    return f"{taken.name} was taken; machines stood still for {taken.pause} s"


def _revert(prefix: Prefix, given: Mapping[str, Any]) -> str:
    prefix.revert_snapshots(given["name"])
    return f"back at {given['name']}"


def _delete(prefix: Prefix, given: Mapping[str, Any]) -> str:
    prefix.delete_snapshot(given["name"])
    return f"{given['name']} is removed"


def _fork(prefix: Prefix, given: Mapping[str, Any]) -> str:
    import os

    path = Workdir(os.path.dirname(prefix.paths.prefix())).free(given["name"])
    prefix.fork(path, given.get("from") or None)
    return f"{given['name']} runs beside this one: lago -P {given['name']} status"


def _fault(prefix: Prefix, given: Mapping[str, Any]) -> str:
    broken = prefix.inflict(given["words"]).faults
    return "; ".join(f"{one.id}: {words.spell(one)}" for one in broken)


def _heal(prefix: Prefix, given: Mapping[str, Any]) -> str:
    healed = prefix.heal(*([given["id"]] if given.get("id") else []))
    return f"healed: {', '.join(one.id for one in healed)}" if healed else "nothing was broken"


def _start(prefix: Prefix, given: Mapping[str, Any]) -> str:
    prefix.start([given["vm"]] if given.get("vm") else [])
    return f"{given.get('vm') or 'all machines'} answer"


def _stop(prefix: Prefix, given: Mapping[str, Any]) -> str:
    prefix.stop([given["vm"]])
    return f"{given['vm']} is stopped"


Act = Callable[[Prefix, Mapping[str, Any]], str]

_ACTS: Final[dict[str, tuple[Act, Any]]] = {
    "snapshot": (_snapshot, shape.record({"name": _TEXT}, {"description": _TEXT})),
    "revert": (_revert, shape.record({"name": _TEXT})),
    "delete": (_delete, shape.record({"name": _TEXT})),
    "fork": (_fork, shape.record({"name": _TEXT}, {"from": _TEXT})),
    "fault": (_fault, shape.record({"words": _TEXT})),
    "heal": (_heal, shape.record({}, {"id": _TEXT})),
    "start": (_start, shape.record({}, {"vm": _TEXT})),
    "stop": (_stop, shape.record({"vm": _TEXT})),
}


def act(prefix: Prefix, word: str, body: str) -> str:
    """Do something, and return in words what came of it.

    Args:
        word: one of those that the page has buttons for.
        body: what it is told, as JSON.

    Raises:
        LagoError: there is no such word, or it failed.
    """
    if word not in _ACTS:
        raise LagoError(f"there is nothing to do called {word[:40]!r}", hint="reload the page")
    do, read = _ACTS[word]
    try:
        given = read(shape.parse(body))
    except ValueError as error:
        raise LagoError(f"{word}: {error}", hint="reload the page") from None
    return do(prefix, given)
