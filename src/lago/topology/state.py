"""The topology of a prefix on disk: `virt/env` names nets and machines, `virt/net-*` and `virt/vm-*` describe them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, Final, Literal, NamedTuple, TypeVar, get_args, get_origin

from ..constants import PREFIX_PATH_VARIABLE
from ..errors import LockTimeout, PrefixError
from ..host import shape, trust
from ..host.files import json_text, write_atomically
from ..host.locks import held_here, lock_file
from ..host.parallel import in_parallel
from ..paths import Paths
from .address import Address
from .addressing import mac_of_address, mac_of_name
from .given import key_of
from .model import Disk, Domain, Net, Nic, Topology

T = TypeVar("T")

_PREFIX: Final = f"${PREFIX_PATH_VARIABLE}/"


def save(paths: Paths, topology: Topology) -> None:
    """Write the topology; `virt/env` last, so that whoever finds it finds all the files that it names."""
    os.makedirs(paths.virt(), 0o700, exist_ok=True)
    files = [(paths.virt(f"net-{net.name}"), plain(net)) for net in topology.nets.values()]
    files += [(paths.virt(f"vm-{vm.name}"), vm_to_json(vm)) for vm in topology.domains.values()]
    # Side by side, as each waits for the disk.
    in_parallel(lambda file: write_atomically(file[0], json_text(file[1])), files, what="writing the environment")
    env: dict[str, Any] = {"nets": list(topology.nets), "vms": list(topology.domains)}
    if topology.faults:
        env["faults"] = {name: list(faults) for name, faults in topology.faults.items()}
    write_atomically(paths.virt("env"), json_text(env))


def load(paths: Paths) -> Topology:
    """Read the topology that `save` wrote, or a release before 2.0.

    Raises:
        PrefixError: a file is missing or damaged.
    """
    nets, vms, faults = _read(
        paths.virt("env"), lambda raw: (_names(raw["nets"]), _names(raw["vms"]), _faults(raw.get("faults", {})))
    )
    specs = {name: _read(paths.virt(f"net-{name}"), _net_from_json) for name in nets}
    domains = {name: _read(paths.virt(f"vm-{name}"), lambda raw: _vm_from_json(raw, specs)) for name in vms}
    return Topology(nets=specs, domains=domains, faults=faults)


_REMEDY = "restore the file, or remove the environment with `lago destroy` and make it again with `lago init`"


def _read(path: str, decode: Callable[[Any], T]) -> T:
    try:
        return decode(shape.parse(trust.read(path)))
    except FileNotFoundError:
        raise PrefixError(f"{path} is missing", hint=_REMEDY) from None
    except OSError as error:
        raise PrefixError(f"{path} can't be read: {error.strerror}", hint=_REMEDY) from None
    except KeyError as error:
        raise PrefixError(f"{path} is damaged", details=f"{error.args[0]} is missing", hint=_REMEDY) from None
    except (ValueError, TypeError, AttributeError) as error:
        raise PrefixError(f"{path} is damaged", details=str(error), hint=_REMEDY) from None


def _check_type(raw: Any, kind: type[T]) -> T:
    if not isinstance(raw, kind) or isinstance(raw, bool) is not (kind is bool):
        raise ValueError(f"expected {kind.__name__}, found {json.dumps(raw)[:60]}")
    return raw


def _faults(raw: Any) -> dict[str, tuple[str, ...]]:
    return {name: tuple(shape.listing(shape.text())(faults)) for name, faults in _check_type(raw, dict).items()}


def _names(raw: Any) -> tuple[str, ...]:
    return tuple(shape.listing(_NAME)(raw))


_NAME: Final = shape.text(rf"(?![.])[^/{shape.CONTROL}]+", "a name", 200)
"""Files are called by it."""


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
        write_atomically(path, json_text({**raw, "service_provider": vm.service_provider}))


def save_net(paths: Paths, net: Net) -> None:
    """Write one network again."""
    write_atomically(paths.virt(f"net-{net.name}"), json_text(plain(net)))


class _Attribute(NamedTuple):
    name: str
    key: str
    read: Callable[[Any], Any]
    required: bool


@functools.cache
def _attributes(spec: Any) -> tuple[_Attribute, ...]:
    """What is kept of a dataclass: all but its place in an init file."""
    return tuple(
        _Attribute(
            one.name,
            key_of(one),
            _reader(one.type),
            one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING,
        )
        for one in dataclasses.fields(spec)
        if one.name != "at"
    )


def plain(value: Any) -> Any:
    """Return a value as JSON has it: a dataclass with the keys of an init file, and without its place in one."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {key: plain(below) for key, below in value.items()}
    if isinstance(value, tuple):
        return [plain(below) for below in value]
    if dataclasses.is_dataclass(value):
        spec: Any = type(value)
        return {one.key: plain(getattr(value, one.name)) for one in _attributes(spec)}
    return value


def vm_to_json(vm: Domain) -> dict[str, Any]:
    """The description of a machine, with keys as in an init file."""
    described: dict[str, Any] = plain(vm)
    nics = [{key: value for key, value in plain(nic).items() if key != "index"} for nic in vm.nics]
    return {**described, "nics": nics, "disks": [_disk_to_json(disk) for disk in vm.disks]}


def _disk_to_json(disk: Disk) -> dict[str, Any]:
    template = disk.template
    return {
        **plain(disk),
        "path": disk.path if os.path.isabs(disk.path) else f"{_PREFIX}{disk.path}",
        "template": {"id": template.id, "path": template.path, "format": template.format} if template else None,
        "metadata": template.metadata if template else disk.metadata,
        "own_metadata": disk.metadata,
    }


def _make(spec: Callable[..., T], raw: Mapping[str, Any]) -> T:
    """What `plain` made JSON of; attributes that it lacks are as by default."""
    values = {}
    for name, key, read, required in _attributes(spec):
        if required or key in raw:
            values[name] = read(raw[key])
    return spec(**values)


def _reader(kind: Any) -> Callable[[Any], Any]:
    """How a value of JSON becomes one of a type.

    Earlier releases wrote other things than true and false, and other words where there may be none.
    """
    inner = [one for one in get_args(kind) if one is not NoneType]
    if NoneType in get_args(kind):
        read = _reader(str if get_origin(inner[0]) is Literal else inner[0])
        return lambda raw: None if raw is None else read(raw)
    if get_origin(kind) is Literal:
        return lambda raw: _one_of(raw, *inner)
    if get_origin(kind) is tuple:
        read = _reader(inner[0])
        return lambda raw: tuple(read(one) for one in _check_type(raw, list))
    if get_origin(kind) is Mapping and dataclasses.is_dataclass(inner[1]):
        read = _reader(inner[1])
        return lambda raw: {key: read(one) for key, one in _check_type(raw, dict).items()}
    if get_origin(kind) is Mapping:
        return lambda raw: _check_type(raw, dict)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return lambda raw: raw if isinstance(raw, kind) else _make(kind, _check_type(raw, dict))
    if kind is Address:
        return lambda raw: Address(_check_type(raw, str))
    return bool if kind is bool else lambda raw: _check_type(raw, kind)


def _one_of(raw: Any, *words: str) -> Any:
    if raw not in words:
        raise ValueError(f"expected {' or '.join(words)}, found {json.dumps(raw)[:60]}")
    return raw


def _net_from_json(raw: Mapping[str, Any]) -> Net:
    """Make a net; what releases before 2.0 did not write is what it was to them."""
    known = {"type": "nat", "management": False, "mapping": {}, **raw}
    gw, dhcp, mtu = raw.get("gw"), raw.get("dhcp") or None, int(raw.get("mtu", 1500))
    _check_type(known["management"], bool)
    if known["type"] != "bridge":
        _check_type(gw, str)
    return _make(Net, {**known, "gw": gw, "dhcp": dhcp, "mtu": mtu})


def _vm_from_json(raw: Mapping[str, Any], nets: Mapping[str, Net]) -> Domain:
    """Make a machine; what releases before 2.0 did not write is what it was to them."""
    name = _check_type(raw["name"], str)
    nics = [_nic_from_json(name, index, nic) for index, nic in enumerate(raw.get("nics", []))]
    touched = (nic.net for nic in nics if nic.net in nets and nets[nic.net].management)
    known = {"mgmt_net": next(touched, None), **raw}
    if isinstance(raw.get("groups"), str):
        known["groups"] = [raw["groups"]]
    if isinstance(raw.get("bootstrap"), bool):
        known["bootstrap"] = None if raw["bootstrap"] else "none"
    disks = [_disk_from_json(n, disk) for n, disk in enumerate(raw.get("disks", []), 1)]
    return _make(Domain, {**known, "nics": nics, "disks": disks})


def _nic_from_json(vm: str, index: int, raw: Mapping[str, Any]) -> Nic:
    ip = Address(_check_type(raw["ip"], str)) if raw.get("ip") is not None else None
    mac = raw.get("mac") or (mac_of_address(ip) if ip else mac_of_name(f"{vm}/{index}"))
    return _make(Nic, {**raw, "index": index, "ip": ip, "mac": mac})


def _disk_from_json(position: int, raw: Mapping[str, Any]) -> Disk:
    path = _check_type(raw["path"], str)
    if not path.startswith((_PREFIX, "/")):
        raise ValueError(f"the path {path} begins neither with {_PREFIX} nor with /")
    template, metadata, size = raw.get("template"), raw.get("metadata", {}), raw.get("size")
    return _make(
        Disk,
        {
            "name": f"disk{position - 1}",
            "type": "file",
            "serial": str(position),
            **raw,
            "path": path.removeprefix(_PREFIX),
            # Earlier releases kept what the init file said, such as 60G; the image has its size by now.
            "size": size if isinstance(size, int) and not isinstance(size, bool) else None,
            "build": raw.get("build") or [],
            "metadata": raw.get("own_metadata", {} if template else metadata),
            "template": {**template, "metadata": metadata} if template else None,
        },
    )
