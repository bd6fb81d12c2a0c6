"""The machines of an oVirt environment: an engine, hosts, and others.

What a machine is says its `vm-type`, or as in earlier releases `ovirt-role` in its metadata:

| `vm-type` | `ovirt-role` | class |
|---|---|---|
| `ovirt-engine` | `engine` | `EngineVM` |
| `ovirt-host` | `host` | `HostVM` |
| `ovirt-node` | | `NodeVM` |
| | | `TestVM` |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from lago.errors import VMError
from lago.host.suggest import near
from lago.virt import VM, VirtEnv

from .engine.machine import EngineVM
from .machines import HostVM, NodeVM, TestVM

if TYPE_CHECKING:
    from lago.topology.model import Domain, Net
    from lago.virt.env import Home

__all__ = ["EngineVM", "HostVM", "NodeVM", "OvirtVirtEnv", "TestVM"]

ROLE: Final = "ovirt-role"

ROLES: Final[Mapping[str, type[TestVM]]] = {"engine": EngineVM, "host": HostVM}


class OvirtVirtEnv(VirtEnv):
    """The machines and networks of an oVirt environment.

    Raises:
        VMError: there are two engines, or a role that is none.
    """

    def __init__(self, prefix: Home, vm_specs: Mapping[str, Domain], net_specs: Mapping[str, Net]) -> None:
        super().__init__(prefix, vm_specs, net_specs)
        engines = [vm for vm in self.get_vms().values() if isinstance(vm, EngineVM)]
        if len(engines) > 1:
            raise VMError(
                f"{' and '.join(vm.name() for vm in engines)} are engines, and an environment has one",
                hint=f"give the others another vm-type, or {ROLE}: host",
            )
        self._engine = engines[0] if engines else None

    def vm_class(self, spec: Domain) -> type[VM]:
        """The class of the machine `spec`. Raises VMError if its role is none."""
        role = spec.metadata.get(ROLE)
        if role is None:
            found = super().vm_class(spec)
            return TestVM if found is VM else found
        if role not in ROLES:
            raise VMError(f"{spec.name}: there is no {ROLE} {role}", hint=near(str(role), ROLES))
        return ROLES[role]

    def engine_vm(self) -> EngineVM | None:
        """The machine that runs the engine, if there is one."""
        return self._engine

    def the_engine(self) -> EngineVM:
        """The machine that runs the engine. Raises VMError if there is none."""
        if self._engine is None:
            raise VMError("the environment has no engine", hint="give its machine the vm-type ovirt-engine")
        return self._engine

    def host_vms(self) -> list[HostVM]:
        """The machines that run virtual machines."""
        return [vm for vm in self.get_vms().values() if isinstance(vm, HostVM)]

    def stop(self, names: Iterable[str] = ()) -> None:
        """Stop machines (all, if none is named), and let go of an engine that is among them."""
        names = list(names)
        if self._engine is not None and (not names or self._engine.name() in names):
            self._engine.disconnect()
        super().stop(names)
