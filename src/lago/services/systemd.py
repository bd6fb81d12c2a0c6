"""Units of systemd."""

from __future__ import annotations

from ..host.programs import CommandStatus
from ..plugins.contracts import ServiceState
from .base import Service, run

_RUNS = ("active", "reloading", "refreshing")


def state_of(show: CommandStatus) -> ServiceState:
    """What `systemctl show --property=LoadState,ActiveState` says of a unit."""
    lines = show.text.splitlines()
    said = dict(line.split("=", 1) for line in lines if "=" in line)
    if said.get("ActiveState") in _RUNS:
        return ServiceState.ACTIVE
    return ServiceState.INACTIVE if said.get("LoadState") == "loaded" else ServiceState.MISSING


class SystemdService(Service):
    """A unit; without a suffix a service."""

    BIN_PATH = "/usr/bin/systemctl"

    def _systemctl(self, *words: str) -> CommandStatus:
        return run(self._vm, [self.BIN_PATH, *words, "--", self._name])

    def state(self) -> ServiceState:
        status = self._systemctl("show", "--property=LoadState,ActiveState")
        if status:
            # It does so for units that are missing too; a failure is that of systemctl itself.
            self._check(status, "tell its state")
        return state_of(status)

    def _request_start(self) -> CommandStatus:
        return self._systemctl("start")

    def _request_stop(self) -> CommandStatus:
        return self._systemctl("stop")
