"""Older init files by chance: what one means, and how somebody might have written it for an earlier Lago."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from random import Random
from typing import Any, Final

_PLAIN: Final = re.compile(r"[A-Za-z/$][A-Za-z0-9/$._-]*")
_WORDS: Final = frozenset(["yes", "no", "on", "off", "true", "false", "null", "y", "n"])


class Bare(str):
    """Text that stands without quotes, whatever YAML takes it for."""

    __slots__ = ()


def meaning(random: Random) -> dict[str, Any]:
    """The content of an init file of today."""
    prototypes = {f"proto{n}": _machine(random, nics=False) for n in range(random.randrange(3))}
    names = [f"{random.choice(('vm', 'engine_el', 'Host-', 'a.b'))}{n}" for n in range(random.randrange(1, 4))]
    domains = {}
    for name in names:
        based = {"based-on": random.choice(list(prototypes))} if prototypes and random.random() < 0.5 else {}
        domains[name] = based | _machine(random, nics=True)
    nets = {
        "lan": {"type": "nat", "management": True, "dhcp": {"start": 100, "end": 200}},
        "back": random.choice([{}, {"type": "isolated"}, {"type": "nat", "mtu": 9000}]),
    }
    env: dict[str, Any] = {"domains": domains, "nets": nets}
    return {"prototypes": prototypes, **env} if prototypes else env


def _machine(random: Random, *, nics: bool) -> dict[str, Any]:
    metadata = {"deploy-scripts": ["$LAGO_INITFILE_PATH/a.sh"], "cpu": 1, "snapshots": {"name": "1.10"}}
    possible: dict[str, Any] = {
        "vcpu": random.randrange(1, 9),
        "memory": random.choice([512, "2G", "512"]),
        "service_provider": random.choice(["systemd", "sysvinit"]),
        "distro": random.choice(["el7", "7", "1.10", "yes"]),
        "groups": random.choice([["a", "1"], ["web"]]),
        "root-password": "123456",
        "boot_time_sec": 600,
        "comment": "cpu: 2 # not a comment",
        "metadata": metadata,
        "artifacts": ["/var/log"],
    }
    chosen = {key: value for key, value in possible.items() if random.random() < 0.5}
    if nics:
        chosen["nics"] = [{"net": "lan"}, {"net": "back"}][: random.randrange(1, 3)]
    chosen["disks"] = [_disk(random) for _ in range(random.randrange(1, 4))]
    return copy.deepcopy(chosen)


def _disk(random: Random) -> dict[str, Any]:
    found: dict[str, Any] = random.choice(
        [
            {"type": "template", "template_name": "el7", "template_version": "1.10"},
            {"type": "template", "template_type": "qcow2", "path": "$LAGO_INITFILE_PATH/it's a.qcow2"},
            {"type": "empty", "size": "10G", "format": "raw"},
            {"type": "file", "path": "/srv/a.qcow2"},
            {"type": "file", "url": "http://example.org/a.iso", "format": "iso"},
        ]
    )
    if random.random() < 0.4:
        found["metadata"] = {"root-partition": "/dev/sda1"} | ({"distro": "el7"} if random.random() < 0.5 else {})
    return found


def aged(env: dict[str, Any], random: Random) -> dict[str, Any]:
    """The same as it was written for an earlier Lago."""
    old = copy.deepcopy(env)
    for machine in (*old["domains"].values(), *old.get("prototypes", {}).values()):
        _rename(machine, "vcpu", "cpu", random)
        _rename(machine, "service_provider", "service_class", random)
        stored: dict[str, Any] = {"snapshots": {}, "guest-agent": "qemu", "name": "x", "mgmt_net": "lan"}
        machine.update({key: value for key, value in stored.items() if random.random() < 0.2})
        if "cpu" not in machine and "vcpu" in machine and random.random() < 0.3:
            machine["cpu"] = 4
        if "root-password" in machine and random.random() < 0.5:
            machine["root-password"] = Bare(machine["root-password"])
        for disk in machine["disks"]:
            _age_disk(disk, random)
        _add_unknown(machine, random)
        _shuffle(machine, random)
    for net in old["nets"].values():
        if "management" in net and random.random() < 0.5:
            net["management"] = random.choice(["true", "yes", "On", "1", 1])
        elif "management" not in net and random.random() < 0.3:
            net["management"] = random.choice(["false", "No", "0", 0])
        if net.get("type") == "nat" and random.random() < 0.5:
            net["type"] = "network"
        said: dict[str, Any] = {"main_dns": True, "mapping": {"vm": "192.168.200.2"}, "name": "lan"}
        net.update({key: value for key, value in said.items() if random.random() < 0.3})
        _shuffle(net, random)
    return old


def _age_disk(disk: dict[str, Any], random: Random) -> None:
    kind = disk["type"]
    if kind == "file" and random.random() < 0.3:
        disk["type"] = "raw"
    if kind == "file" and "url" in disk and random.random() < 0.5:
        disk["path"] = "/somewhere"
    if disk.get("template_type") == "qcow2" and random.random() < 0.7:
        disk["template_name"] = "el7"
    if kind == "empty" and random.random() < 0.4:
        disk.update(random.choice([{"template_name": "el7"}, {"path": "x", "make_a_copy": True}]))
    if random.random() < 0.3:
        disk["root-partition"] = "/dev/sda1"
    _add_unknown(disk, random)
    _shuffle(disk, random)


def _rename(machine: dict[str, Any], new: str, old: str, random: Random) -> None:
    if new in machine and random.random() < 0.5:
        machine[old] = machine.pop(new)


def _add_unknown(mapping: dict[str, Any], random: Random) -> None:
    if random.random() < 0.3:
        mapping["quux"] = random.choice([1, "a", ["b"], {"cpu": 2}, None])


def _shuffle(mapping: dict[str, Any], random: Random) -> None:
    entries = list(mapping.items())
    random.shuffle(entries)
    mapping.clear()
    mapping.update(entries)


def written(env: dict[str, Any], random: Random) -> str:
    """An init file with that content, in a style by chance: JSON or YAML, with comments, blank lines and anchors."""
    if random.random() < 0.2:
        text = json.dumps(env, indent=random.choice([None, 2, "\t"]))
    else:
        env = copy.deepcopy(env)
        anchors: list[str] = []
        if random.random() < 0.5:
            _share(env, random, anchors)
        text = "".join([*anchors, *_Writer(random).mapping(env, 0)])
    text = text.replace("\n", random.choice(["\n", "\n", "\r\n"]))
    return ("\ufeff" if random.random() < 0.1 else "") + text


def _share(env: dict[str, Any], random: Random, anchors: list[str]) -> None:
    """Move what a machine has into a mapping at the top, which it merges."""
    for number, machine in enumerate(env["domains"].values()):
        entries = [key for key in machine if random.random() < 0.4 and not isinstance(machine[key], Bare)]
        if random.random() < 0.5 or not entries or {"cpu", "vcpu"} <= {*machine}:
            continue
        shared = {key: machine.pop(key) for key in entries}
        anchors.append(f"base{number}: &base{number}\n")
        anchors += _Writer(random).mapping(shared, 2)
        machine["<<"] = Bare(f"*base{number}")


class _Writer:
    def __init__(self, random: Random) -> None:
        self._random = random

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def mapping(self, value: dict[str, Any], indent: int) -> Iterator[str]:
        for key, below in value.items():
            if self._chance(0.1):
                yield self._random.choice(["\n", f"{' ' * indent}# cpu: 2\n", "# a comment\n"])
            yield from self._entry(f"{' ' * indent}{self._key(key)}:", below, indent)

    def _entry(self, head: str, value: Any, indent: int) -> Iterator[str]:
        if value and isinstance(value, dict) and not self._chance(0.3):
            yield f"{head}{self._comment()}\n"
            yield from self.mapping(value, indent + self._random.choice([1, 2, 4]))
        elif value and isinstance(value, list) and not self._chance(0.3):
            yield f"{head}{self._comment()}\n"
            below = indent + self._random.choice([0, 2])
            for item in value:
                yield from self._item(item, below)
        else:
            yield f"{head}{' ' * self._random.choice([1, 1, 3])}{self._flow(value)}{self._comment()}\n"

    def _item(self, value: Any, indent: int) -> Iterator[str]:
        dash = f"{' ' * indent}- "
        if value and isinstance(value, dict) and not self._chance(0.4):
            lines = list(self.mapping(value, indent + 2))
            first = next(number for number, line in enumerate(lines) if line.strip() and line.strip()[0] != "#")
            yield from lines[:first]
            yield dash + lines[first].lstrip(" ")
            yield from lines[first + 1 :]
        else:
            yield f"{dash}{self._flow(value)}{self._comment()}\n"

    def _comment(self) -> str:
        return self._random.choice(["", "", "", "  # as it was", "\t#vcpu: 1 {a"])

    def _key(self, key: str) -> str:
        return self._random.choice([key, key, key, f'"{key}"', f"'{key}'"]) if key != "<<" else key

    def _flow(self, value: Any) -> str:
        between = self._random.choice([", ", ","])
        if isinstance(value, dict):
            entries = [f"{self._key(key)}: {self._flow(below)}" for key, below in value.items()]
            tail = self._random.choice(["", "", " ", ","]) if entries else ""
            return f"{{{between.join(entries)}{tail}}}"
        if isinstance(value, list):
            return f"[{between.join(self._flow(item) for item in value)}]"
        if isinstance(value, Bare):
            return str(value)
        if not isinstance(value, str):
            return "null" if value is None else json.dumps(value)
        forms = [json.dumps(value), "'{}'".format(value.replace("'", "''"))]
        if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
            forms += [value, value]
        return self._random.choice(forms)
