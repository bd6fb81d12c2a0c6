"""Units of systemd in a container, or of the guest itself."""

from __future__ import annotations

from typing import Final

from ..host.programs import CommandStatus
from ..plugins.contracts import ServiceState
from .base import run
from .systemd import SystemdService, state_of

_CONTAINER: Final = "vdsmc"


class SystemdContainerService(SystemdService):
    """A unit in the container `vdsmc`, or, where the container does not have it, of the guest."""

    BIN_PATH = "/usr/bin/docker"
    HOST_BIN_PATH = SystemdService.BIN_PATH

    def _systemctl(self, *words: str) -> CommandStatus:
        inside = self._inside("show", "--property=LoadState,ActiveState")
        if inside or state_of(inside) == ServiceState.MISSING:
            return run(self._vm, [self.HOST_BIN_PATH, *words, "--", self._name])
        return inside if words[0] == "show" else self._inside(*words)

    def _inside(self, *words: str) -> CommandStatus:
        return run(self._vm, [self.BIN_PATH, "exec", _CONTAINER, "systemctl", *words, "--", self._name])
