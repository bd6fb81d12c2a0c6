"""Machines of the class that their `vm-type` names, run by what their `vm-provider` names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..plugins import machines
from ..topology import Domain
from .vm import VM

if TYPE_CHECKING:
    from .env import VirtEnv


def make(env: VirtEnv, spec: Domain) -> VM:
    """The machine. Raises LagoError if its type or provider is not there."""
    kind, provider = machines.kind(spec.vm_type, spec.name) or VM, machines.provider(spec.vm_provider, spec.name)
    if provider is not None:
        kind = type(kind.__name__, (_Provided, kind), {})
    made: VM = kind(env, spec)
    if provider is not None:
        made.provider = provider(made)
    return made


class _Provided(VM):
    """A machine that something else than libvirt runs."""

    def start(self) -> None:
        if not self.alive():
            self.provider.start()

    def stop(self) -> None:
        self.guest.close()
        if self.alive():
            self.provider.stop()

    def state(self) -> str:
        state: str = self.provider.state()
        return state

    def alive(self) -> bool:
        return bool(self.provider.running())
