"""Init scripts, and their exit statuses as of the Linux Standard Base, "Init Script Actions"."""

from __future__ import annotations

from typing import Final

from ..host.programs import CommandStatus
from ..plugins.contracts import ServiceState
from .base import Service, run

_DEAD: Final = (1, 2, 3)
"""Not running: with a pid file left, with a lock file left, plainly."""


def state_of(status: CommandStatus) -> ServiceState:
    """What `service NAME status` says of a service."""
    said = (status.text + status.error_text).strip()
    if not status:
        return ServiceState.ACTIVE
    if "unrecognized service" in said:
        return ServiceState.MISSING
    stopped = status.code in _DEAD or said.rstrip(".").endswith("is stopped")
    return ServiceState.INACTIVE if stopped else ServiceState.MISSING


class SysVInitService(Service):
    """A script in `/etc/init.d`."""

    BIN_PATH = "/sbin/service"

    def _service(self, command: str) -> CommandStatus:
        return run(self._vm, [self.BIN_PATH, self._name, command])

    def state(self) -> ServiceState:
        return state_of(self._service("status"))

    def _request_start(self) -> CommandStatus:
        return self._service("start")

    def _request_stop(self) -> CommandStatus:
        return self._service("stop")
