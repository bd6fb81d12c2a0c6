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
from lago.log import LOG
from lago.utils import near
from lago.virt import VM, VirtEnv

from .engine.machine import EngineVM
from .machines import HostVM, NodeVM, TestVM

if TYPE_CHECKING:
    from lago import Prefix
    from lago.topology.model import Domain, Net

__all__ = ["EngineVM", "HostVM", "NodeVM", "OvirtVirtEnv", "TestVM"]

ROLE: Final = "ovirt-role"

ROLES: Final[Mapping[str, type[TestVM]]] = {"engine": EngineVM, "host": HostVM}


class OvirtVirtEnv(VirtEnv):
    """The machines and networks of an oVirt environment.

    Args:
        prefix: the environment on disk.
        vm_specs: what the machines are, by name.
        net_specs: what the networks are, by name.

    Raises:
        VMError: there are two engines, or a role that is none.
    """

    def __init__(self, prefix: Prefix, vm_specs: Mapping[str, Domain], net_specs: Mapping[str, Net]) -> None:
        super().__init__(prefix, vm_specs, net_specs)
        engines = [vm for vm in self.get_vms().values() if isinstance(vm, EngineVM)]
        if len(engines) > 1:
            raise VMError(
                f"{' and '.join(vm.name() for vm in engines)} are engines, and an environment has one",
                hint=f"give the others another vm-type, or {ROLE}: host",
            )
        self._engine = engines[0] if engines else None

    def vm_class(self, spec: Domain) -> type[VM]:
        """Return the class of the machine that `spec` describes. Raises VMError if its role is none."""
        role = spec.metadata.get(ROLE)
        if role is None:
            found = super().vm_class(spec)
            return TestVM if found is VM else found
        if role not in ROLES:
            raise VMError(f"{spec.name}: there is no {ROLE} {role}", hint=near(str(role), ROLES))
        return ROLES[role]

    def engine_vm(self) -> EngineVM | None:
        """Return the machine that runs the engine, if there is one."""
        return self._engine

    def the_engine(self) -> EngineVM:
        """Return the machine that runs the engine. Raises VMError if there is none."""
        if self._engine is None:
            raise VMError("the environment has no engine", hint="give its machine the vm-type ovirt-engine")
        return self._engine

    def host_vms(self) -> list[HostVM]:
        """Return the machines that run virtual machines."""
        return [vm for vm in self.get_vms().values() if isinstance(vm, HostVM)]

    def working_engine(self) -> EngineVM | None:
        """Return the engine, if its machine and those of all hosts run and it is set up; there is nothing to wake else.

        Raises:
            HypervisorError: libvirt does not say which machines run.
            VMNotReady: the engine's machine does not answer.
        """
        states = self.states()
        engine = self._engine
        machines = [*([engine] if engine else []), *self.host_vms()]
        if engine is None or any(states[vm.name()] != "running" for vm in machines):
            return None
        if not engine.is_set_up():
            LOG.info("the engine on %s is not set up", engine.name())
            return None
        return engine

    def stop(self, names: Iterable[str] = ()) -> None:
        """Stop machines (all, if none is named), and let go of an engine that is among them."""
        names = list(names)
        if self._engine is not None and (not names or self._engine.name() in names):
            self._engine.disconnect()
        super().stop(names)
