"""The topology of a prefix on disk: `virt/env` names nets and machines, `virt/net-*` and `virt/vm-*` describe them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .errors import PrefixError
from .paths import Paths
from .spec import DhcpRange
from .topology import Disk, Domain, Net, Nic, TemplateImage, Topology
from .utils import in_parallel, json_text, write_atomically

T = TypeVar("T")

PREFIX_VARIABLE = "$LAGO_PREFIX_PATH"
"""Stands for the prefix in stored paths, so that a prefix can be moved."""


def save(paths: Paths, topology: Topology) -> None:
    """Write the topology; `virt/env` last, so that whoever finds it finds all the files that it names."""
    os.makedirs(paths.virt(), exist_ok=True)
    files = [(paths.virt(f"net-{net.name}"), _net_to_json(net)) for net in topology.nets.values()]
    files += [(paths.virt(f"vm-{vm.name}"), _vm_to_json(vm)) for vm in topology.domains.values()]
    # Side by side, as each waits for the disk.
    in_parallel(lambda file: write_atomically(file[0], json_text(file[1])), files, what="writing the environment")
    env = {"nets": list(topology.nets), "vms": list(topology.domains)}
    write_atomically(paths.virt("env"), json_text(env))


def load(paths: Paths) -> Topology:
    """The topology that `save` wrote.

    Raises:
        PrefixError: a file is missing or damaged.
    """
    nets, vms = _read(paths.virt("env"), lambda raw: (_names(raw["nets"]), _names(raw["vms"])))
    return Topology(
        nets={name: _read(paths.virt(f"net-{name}"), _net_from_json) for name in nets},
        domains={name: _read(paths.virt(f"vm-{name}"), _vm_from_json) for name in vms},
    )


_REMEDY = "restore the file, or remove the environment with `lago destroy` and make it again with `lago init`"


def _read(path: str, decode: Callable[[Any], T]) -> T:
    try:
        with open(path, encoding="utf-8") as file:
            return decode(json.load(file))
    except FileNotFoundError:
        raise PrefixError(f"{path} is missing", hint=_REMEDY) from None
    except OSError as error:
        raise PrefixError(f"{path} can't be read: {error.strerror}", hint=_REMEDY) from None
    except KeyError as error:
        raise PrefixError(f"{path} is damaged", details=f"{error.args[0]} is missing", hint=_REMEDY) from None
    except (ValueError, TypeError, AttributeError) as error:
        raise PrefixError(f"{path} is damaged", details=str(error), hint=_REMEDY) from None


def _typed(raw: Any, kind: type[T]) -> T:
    if not isinstance(raw, kind) or isinstance(raw, bool) is not (kind is bool):
        raise ValueError(f"expected {kind.__name__}, found {json.dumps(raw)[:60]}")
    return raw


def _optional(raw: Any, kind: type[T]) -> T | None:
    return None if raw is None else _typed(raw, kind)


def _names(raw: Any) -> tuple[str, ...]:
    return tuple(_typed(name, str) for name in _typed(raw, list))


def _net_to_json(net: Net) -> dict[str, Any]:
    return {
        "name": net.name,
        "type": net.type,
        "management": net.management,
        "gw": net.gw,
        "dhcp": {"start": net.dhcp.start, "end": net.dhcp.end} if net.dhcp else None,
        "mapping": net.mapping,
    }


def _net_from_json(raw: Mapping[str, Any]) -> Net:
    dhcp = raw["dhcp"]
    return Net(
        name=_typed(raw["name"], str),
        type=_one_of(raw["type"], "nat"),
        management=_typed(raw["management"], bool),
        gw=_typed(raw["gw"], str),
        dhcp=DhcpRange(start=_typed(dhcp["start"], int), end=_typed(dhcp["end"], int)) if dhcp else None,
        mapping=_typed(raw["mapping"], dict),
    )


def _one_of(raw: Any, *words: str) -> Any:
    if raw not in words:
        raise ValueError(f"expected {' or '.join(words)}, found {json.dumps(raw)[:60]}")
    return raw


def _vm_to_json(vm: Domain) -> dict[str, Any]:
    return {
        "name": vm.name,
        "memory": vm.memory,
        "vcpu": vm.vcpu,
        "mgmt_net": vm.mgmt_net,
        "nics": [{"net": nic.net, "ip": nic.ip, "mac": nic.mac} for nic in vm.nics],
        "disks": [_disk_to_json(disk) for disk in vm.disks],
        "metadata": vm.metadata,
        "groups": list(vm.groups),
        "artifacts": list(vm.artifacts),
    }


def _vm_from_json(raw: Mapping[str, Any]) -> Domain:
    return Domain(
        name=_typed(raw["name"], str),
        memory=_typed(raw["memory"], int),
        vcpu=_typed(raw["vcpu"], int),
        mgmt_net=_optional(raw["mgmt_net"], str),
        nics=tuple(
            Nic(index=index, net=_typed(nic["net"], str), ip=_optional(nic["ip"], str), mac=_typed(nic["mac"], str))
            for index, nic in enumerate(raw["nics"])
        ),
        disks=tuple(_disk_from_json(disk) for disk in raw["disks"]),
        metadata=_typed(raw["metadata"], dict),
        groups=_names(raw["groups"]),
        artifacts=_names(raw["artifacts"]),
    )


def _disk_to_json(disk: Disk) -> dict[str, Any]:
    template = disk.template
    return {
        "name": disk.name,
        "type": disk.type,
        "dev": disk.dev,
        "format": disk.format,
        "path": f"{PREFIX_VARIABLE}/{disk.path}",
        "serial": disk.serial,
        "size": disk.size,
        "template": {"id": template.id, "path": template.path, "format": template.format} if template else None,
        "metadata": template.metadata if template else {},
    }


def _disk_from_json(raw: Mapping[str, Any]) -> Disk:
    path = _typed(raw["path"], str)
    if not path.startswith(f"{PREFIX_VARIABLE}/"):
        raise ValueError(f"the path {path} doesn't begin with {PREFIX_VARIABLE}/")
    template = raw["template"]
    return Disk(
        name=_typed(raw["name"], str),
        type=_one_of(raw["type"], "template", "empty"),
        dev=_typed(raw["dev"], str),
        format=_one_of(raw["format"], "qcow2", "raw"),
        path=path.removeprefix(f"{PREFIX_VARIABLE}/"),
        serial=_typed(raw["serial"], str),
        size=_optional(raw["size"], int),
        template=TemplateImage(
            id=_typed(template["id"], str),
            path=_typed(template["path"], str),
            format=_typed(template["format"], str),
            metadata=_typed(raw["metadata"], dict),
        )
        if template
        else None,
    )
