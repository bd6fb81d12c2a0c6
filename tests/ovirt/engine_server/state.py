"""What the server knows: by kind and identifier, in the file `state.json`, with changes that are due later."""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any, NoReturn

from .faults import Faults

Thing = dict[str, Any]

REMOVED = "removed"
"""What becomes that is no more."""


class Refused(Exception):
    """The engine does not do what is asked; the argument says why."""


class State:
    """The state in a directory; `delay` is how many seconds a change takes."""

    def __init__(self, directory: Path, delay: float) -> None:
        self._path = directory / "state.json"
        self._delay = delay
        self.faults = Faults(directory)
        self.data: dict[str, Any] = json.loads(self._path.read_text())

    def save(self) -> None:
        """Write it to its file."""
        new = self._path.with_suffix(".new")
        with open(new, "w") as file:
            file.write(json.dumps(self.data, indent=1))
            file.flush()
            # A machine whose plug is pulled has it nevertheless.
            os.fsync(file.fileno())
        os.replace(new, self._path)

    def of(self, kind: str) -> dict[str, Thing]:
        """All things of a kind, by identifier."""
        found: dict[str, Thing] = self.data.setdefault(kind, {})
        return found

    def add(self, kind: str, **thing: Any) -> str:
        """A new thing; its identifier."""
        number = str(uuid.uuid4())
        self.of(kind)[number] = thing
        return number

    def event(self, text: str, severity: str = "normal") -> None:
        """Something that happened."""
        events = self.data.setdefault("events", [])
        events.append({"id": str(len(events) + 1), "description": text, "severity": severity, "time": time.time()})

    def advance(self) -> None:
        """Let happen what is due."""
        due = [one for one in self.data.setdefault("pending", []) if one["due"] <= time.time()]
        for one in due:
            self.data["pending"].remove(one)
            thing = self.of(one["kind"]).get(one["id"])
            if thing is None:
                continue
            thing |= {**one["more"], "status": one["status"]}
            if one["status"] == REMOVED:
                self.of(one["kind"]).pop(one["id"])
            self.of("jobs")[one["job"]]["status"] = "finished"
            self.event(f"{one['kind']} {thing['name']} is now {one['status']}.")
        if due:
            self.save()

    def change(self, kind: str, number: str, via: str, to: str, **more: Any) -> None:
        """Let a thing become `to`, and get `more`, after a while, in which it is `via`. Raises Refused."""
        thing = self.of(kind)[number]
        name = thing["name"]
        if self.faults.spend(kind, name, "refuse"):
            self.refuse(f"Cannot change {name}. Related operation is currently in progress.")
        before, thing["status"] = thing["status"], via
        job = self.add("jobs", description=f"{kind} {name}: {to}", status="started", started=time.time())
        self.event(f"{kind} {name} shall be {to}.")
        if self.faults.of(kind, name).get("stuck"):
            self.event(f"{kind} {name} is still {via}.", "warning")
        else:
            end = before if self.faults.spend(kind, name, "bounce") else to
            due = time.time() + self._delay
            self.data["pending"].append(
                {"due": due, "kind": kind, "id": number, "status": end, "job": job, "more": more}
            )
        self.save()

    def refuse(self, why: str) -> NoReturn:
        """Say no, which is an event. Raises Refused."""
        self.event(why, "error")
        self.save()
        raise Refused(why)


def example(hosts: list[tuple[str, str]], storage: list[str]) -> dict[str, Any]:
    """A data center whose first storage domain is the master, with a cluster of hosts and a virtual machine."""
    data: dict[str, Any] = {
        "datacenters": {"dc": {"name": "test-dc"}},
        "clusters": {"cluster": {"name": "test-cluster", "cpu": "Intel Conroe Family", "datacenter": "dc"}},
        "hosts": {
            f"host-{name}": {"name": name, "address": address, "status": "up", "cluster": "cluster"}
            for name, address in hosts
        },
        "storagedomains": {
            f"storage-{name}": {
                "name": name,
                "status": "active",
                "type": "data",
                "master": number == 0,
                "datacenter": "dc",
            }
            for number, name in enumerate(storage)
        },
        "vms": {"vm-0": {"name": "vm0", "status": "down", "cluster": "cluster"}},
        "events": [{"id": "1", "description": "The engine was set up.", "severity": "normal", "time": time.time()}],
    }
    return data


def empty() -> dict[str, Any]:
    """What there is when an engine has just been set up."""
    return {"templates": {"blank": {"name": "Blank", "status": "ok", "disks": []}}}
