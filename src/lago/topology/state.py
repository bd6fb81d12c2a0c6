"""The topology of a prefix on disk: `virt/env` names nets and machines, `virt/net-*` and `virt/vm-*` describe them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Final, TypeVar

from ..constants import DEFAULT_MEMORY_MIB, DEFAULT_VCPU, PREFIX_PATH_VARIABLE
from ..errors import LockTimeout, PrefixError
from ..host import trust
from ..host.files import json_text, write_atomically
from ..host.locks import held_here, lock_file
from ..host.parallel import in_parallel
from ..paths import Paths
from .addressing import mac_of_address, mac_of_name
from .model import Disk, Domain, Net, Nic, TemplateImage, Topology
from .spec import DhcpRange, Machine, Share, key_of

T = TypeVar("T")

_PREFIX: Final = f"${PREFIX_PATH_VARIABLE}/"


def save(paths: Paths, topology: Topology) -> None:
    """Write the topology; `virt/env` last, so that whoever finds it finds all the files that it names."""
    os.makedirs(paths.virt(), 0o755, exist_ok=True)
    files = [(paths.virt(f"net-{net.name}"), _net_to_json(net)) for net in topology.nets.values()]
    files += [(paths.virt(f"vm-{vm.name}"), vm_to_json(vm)) for vm in topology.domains.values()]
    # Side by side, as each waits for the disk.
    in_parallel(lambda file: write_atomically(file[0], json_text(file[1])), files, what="writing the environment")
    env = {"nets": list(topology.nets), "vms": list(topology.domains)}
    write_atomically(paths.virt("env"), json_text(env))


def load(paths: Paths) -> Topology:
    """The topology that `save` wrote, or a release before 2.0.

    Raises:
        PrefixError: a file is missing or damaged.
    """
    nets, vms = _read(paths.virt("env"), lambda raw: (_names(raw["nets"]), _names(raw["vms"])))
    specs = {name: _read(paths.virt(f"net-{name}"), _net_from_json) for name in nets}
    domains = {name: _read(paths.virt(f"vm-{name}"), lambda raw: _vm_from_json(raw, specs)) for name in vms}
    return Topology(nets=specs, domains=domains)


_REMEDY = "restore the file, or remove the environment with `lago destroy` and make it again with `lago init`"


def _read(path: str, decode: Callable[[Any], T]) -> T:
    try:
        return decode(json.loads(trust.read(path)))
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


def save_vm(paths: Paths, vm: Domain, path: str | None = None) -> None:
    """Write one machine again, or to a `path` of its own."""
    write_atomically(path or paths.virt(f"vm-{vm.name}"), json_text(vm_to_json(vm)))


def save_service_provider(paths: Paths, vm: Domain) -> None:
    """Write what manages the services of a machine, which was found out; all else stays as it is on disk.

    That needs the lock of the prefix. While somebody else has it nothing is written, and it is found out again later.
    """
    path = paths.virt(f"vm-{vm.name}")
    # Who is waited for, or is gone with all files, has no use for what is only noted.
    with contextlib.suppress(LockTimeout, FileNotFoundError), contextlib.ExitStack() as stack:
        if not held_here(paths.lock()):
            stack.enter_context(lock_file(paths.lock(), what=f"the environment {paths.prefix()}", timeout=0))
        raw = json.loads(trust.read(path))
        write_atomically(path, json_text({**raw, key_of("service_provider"): vm.service_provider}))


def save_net(paths: Paths, net: Net) -> None:
    """Write one network again."""
    write_atomically(paths.virt(f"net-{net.name}"), json_text(_net_to_json(net)))


def _net_to_json(net: Net) -> dict[str, Any]:
    return {
        "name": net.name,
        "type": net.type,
        "management": net.management,
        "gw": net.gw,
        "dhcp": {"start": net.dhcp.start, "end": net.dhcp.end} if net.dhcp else None,
        "mapping": net.mapping,
        "ipv6": net.ipv6,
        "mtu": net.mtu,
        "dns_domain_name": net.dns_domain_name,
        "dns_records": net.dns_records,
    }


def _net_from_json(raw: Mapping[str, Any]) -> Net:
    kind, gw, dhcp = _one_of(raw.get("type", "nat"), "nat", "isolated", "bridge"), raw.get("gw"), raw.get("dhcp")
    return Net(
        name=_typed(raw["name"], str),
        type=kind,
        management=_typed(raw.get("management", False), bool),
        gw=_optional(gw, str) if kind == "bridge" else _typed(gw, str),
        dhcp=DhcpRange(start=_typed(dhcp["start"], int), end=_typed(dhcp["end"], int)) if dhcp else None,
        mapping=_typed(raw.get("mapping", {}), dict),
        ipv6=_optional(raw.get("ipv6"), str),
        mtu=int(raw.get("mtu", 1500)),
        dns_domain_name=_optional(raw.get("dns_domain_name"), str),
        dns_records=_typed(raw.get("dns_records", {}), dict),
    )


def _one_of(raw: Any, *words: str) -> Any:
    if raw not in words:
        raise ValueError(f"expected {' or '.join(words)}, found {json.dumps(raw)[:60]}")
    return raw


_TEXTS = (
    "cpu_model",
    "boot",
    "bootstrap",
    "distro",
    "root_password",
    "ssh_user",
    "ssh_password",
    "service_provider",
    "vm_type",
    "vm_provider",
)
_FLAGS = ("secure_boot", "tpm", "skip_export")


def vm_to_json(vm: Domain) -> dict[str, Any]:
    """The description of a machine, with keys as in an init file."""
    own = {key_of(one.name): getattr(vm, one.name) for one in fields(Machine)}
    return {
        **own,
        "shares": [{"path": share.path, "tag": share.tag} for share in vm.shares],
        "mgmt_net": vm.mgmt_net,
        "nics": [{"net": nic.net, "ip": nic.ip, "ip6": nic.ip6, "mac": nic.mac} for nic in vm.nics],
        "disks": [_disk_to_json(disk) for disk in vm.disks],
    }


def _vm_from_json(raw: Mapping[str, Any], nets: Mapping[str, Net]) -> Domain:
    """A machine; what releases before 2.0 did not write is what it was to them."""
    name = _typed(raw["name"], str)
    nics = tuple(_nic_from_json(name, index, nic) for index, nic in enumerate(raw.get("nics", [])))
    touched = (nic.net for nic in nics if nic.net in nets and nets[nic.net].management)
    groups = raw.get("groups", [])
    if isinstance(raw.get("bootstrap"), bool):
        raw = {**raw, "bootstrap": None if raw["bootstrap"] else "none"}
    more: dict[str, Any] = {attribute: _optional(raw.get(key_of(attribute)), str) for attribute in _TEXTS}
    more |= {attribute: bool(raw.get(key_of(attribute), False)) for attribute in _FLAGS}
    return Domain(
        name=name,
        memory=_typed(raw.get("memory", DEFAULT_MEMORY_MIB), int),
        vcpu=_typed(raw.get("vcpu", DEFAULT_VCPU), int),
        cpu_custom=_optional(raw.get("cpu_custom"), dict),
        machine=_typed(raw.get("machine", "q35"), str),
        firmware=_one_of(raw.get("firmware", "bios"), "bios", "uefi"),
        shares=tuple(Share(path=one["path"], tag=one["tag"]) for one in raw.get("shares", [])),
        boot_time_sec=_optional(raw.get("boot_time_sec"), int),
        mgmt_net=_optional(raw["mgmt_net"], str) if "mgmt_net" in raw else next(touched, None),
        nics=nics,
        disks=tuple(_disk_from_json(n, disk) for n, disk in enumerate(raw.get("disks", []), 1)),
        cloud_init=_typed(raw.get("cloud-init", {}), dict),
        files=_typed(raw.get("files", {}), dict),
        metadata=_typed(raw.get("metadata", {}), dict),
        groups=(groups,) if isinstance(groups, str) else _names(groups),
        artifacts=_names(raw.get("artifacts", [])),
        **more,
    )


def _nic_from_json(vm: str, index: int, raw: Mapping[str, Any]) -> Nic:
    ip = _optional(raw.get("ip"), str)
    mac = raw.get("mac") or (mac_of_address(ip) if ip else mac_of_name(f"{vm}/{index}"))
    net, ip6 = _typed(raw["net"], str), _optional(raw.get("ip6"), str)
    return Nic(index=index, net=net, ip=ip, ip6=ip6, mac=_typed(mac, str))


def _disk_to_json(disk: Disk) -> dict[str, Any]:
    template = disk.template
    return {
        "name": disk.name,
        "type": disk.type,
        "dev": disk.dev,
        "format": disk.format,
        "path": disk.path if os.path.isabs(disk.path) else f"{_PREFIX}{disk.path}",
        "serial": disk.serial,
        "size": disk.size,
        "source": disk.source,
        "build": list(disk.build),
        "skip-export": disk.skip_export,
        "template": {"id": template.id, "path": template.path, "format": template.format} if template else None,
        "metadata": template.metadata if template else disk.metadata,
        "own_metadata": disk.metadata,
    }


def _disk_from_json(position: int, raw: Mapping[str, Any]) -> Disk:
    path = _typed(raw["path"], str)
    if not path.startswith((_PREFIX, "/")):
        raise ValueError(f"the path {path} begins neither with {_PREFIX} nor with /")
    template, metadata = raw.get("template"), _typed(raw.get("metadata", {}), dict)
    size = raw.get("size")
    return Disk(
        name=_typed(raw.get("name", f"disk{position - 1}"), str),
        type=_one_of(raw.get("type", "file"), "template", "empty", "file"),
        dev=_typed(raw["dev"], str),
        format=_one_of(raw["format"], "qcow2", "raw", "iso"),
        path=path.removeprefix(_PREFIX),
        serial=_typed(raw.get("serial", str(position)), str),
        # Earlier releases kept what the init file said, such as 60G; the image has its size by now.
        size=size if isinstance(size, int) and not isinstance(size, bool) else None,
        source=_optional(raw.get("source"), str),
        build=tuple(_typed(step, dict) for step in raw.get("build") or []),
        skip_export=bool(raw.get("skip-export", False)),
        metadata=_typed(raw.get("own_metadata", {} if template else metadata), dict),
        template=TemplateImage(
            id=_typed(template["id"], str),
            path=_typed(template["path"], str),
            format=_typed(template["format"], str),
            metadata=metadata,
        )
        if template
        else None,
    )
