"""Machines of the class that their `vm-type` names, run by what their `vm-provider` names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..plugins import machines
from ..topology.model import Domain
from .vm import VM

if TYPE_CHECKING:
    from .env import VirtEnv


def kind_of(spec: Domain) -> type[VM]:
    """The class that the `vm-type` of a machine names. Raises LagoError if it is not there."""
    return machines.kind(spec.vm_type, spec.name) or VM


def make(env: VirtEnv, spec: Domain, kind: type[VM]) -> VM:
    """A machine of the class `kind`. Raises LagoError if its provider is not there."""
    provider = machines.provider(spec.vm_provider, spec.name)
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

    def shutdown(self) -> str:
        self._must_run()
        self.provider.shutdown()
        self.guest.close()
        return "its provider"

    def reboot(self) -> str:
        self._must_run()
        self.provider.reboot()
        self.guest.close()
        return "its provider"

    def state(self) -> str:
        state: str = self.provider.state()
        return state

    def alive(self) -> bool:
        return bool(self.provider.running())

    def extract_paths(self, paths: Iterable[tuple[str, str]], ignore_nopath: bool = False) -> None:
        own = getattr(self.provider, "extract_paths", None) or super().extract_paths
        own(paths, ignore_nopath=ignore_nopath)
