"""What machines are able to do, as `ovirt-capabilities` in their metadata says: a list of words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from lago.virt import VM

    from ..virt import OvirtVirtEnv

KEY: Final = "ovirt-capabilities"


def lacking_of_engine(env: OvirtVirtEnv, wanted: Iterable[str]) -> str:
    """Return what the engine of an environment lacks of the capabilities `wanted`, for a person; empty if nothing."""
    engine = env.engine_vm()
    return "there is no engine" if engine is None else lacking([engine], wanted)


def lacking_of_hosts(env: OvirtVirtEnv, wanted: Iterable[str]) -> str:
    """Return what any host of an environment lacks of the capabilities `wanted`, for a person; empty if nothing."""
    hosts = env.host_vms()
    return lacking(hosts, wanted) if hosts else "there is no host"


def lacking(vms: Iterable[VM], wanted: Iterable[str]) -> str:
    """Return which of some machines lack what of the capabilities `wanted`, for a person; empty if each has all."""
    names = list(wanted)
    lacks = ((vm.name(), [name for name in names if name not in _of(vm)]) for vm in vms)
    return ", ".join(f"{vm} lacks {' and '.join(missing)}" for vm, missing in lacks if missing)


def _of(vm: VM) -> list[str]:
    given = vm.metadata.get(KEY) or []
    return [given] if isinstance(given, str) else list(given)
