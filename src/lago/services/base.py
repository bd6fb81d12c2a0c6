"""What services have in common, whatever manages them."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import ClassVar, Final

from ..errors import VMError
from ..host.programs import CommandStatus
from ..plugins.contracts import Machine, ServiceState

_PATIENCE: Final = 900.0
"""Seconds that a service may take to start or to end."""


def run(vm: Machine, argv: Sequence[str]) -> CommandStatus:
    """Run a command on a machine, and return how it ended; nothing of it is shown."""
    vm.connect()
    return vm.guest.run(list(argv), timeout=_PATIENCE)


class Service(abc.ABC):
    """The service `name` of a machine."""

    BIN_PATH: ClassVar[str]
    """Program that is there in guests with this manager."""

    def __init__(self, vm: Machine, name: str) -> None:
        self._vm = vm
        self._name = name

    @classmethod
    def is_supported(cls, vm: Machine) -> bool:
        """Whether a machine has this manager."""
        return not run(vm, ["test", "-e", cls.BIN_PATH])

    @abc.abstractmethod
    def state(self) -> ServiceState:
        """How it is."""

    @abc.abstractmethod
    def _request_start(self) -> CommandStatus:
        """Start it; true if that failed."""

    @abc.abstractmethod
    def _request_stop(self) -> CommandStatus:
        """Stop it; true if that failed."""

    def exists(self) -> bool:
        """Whether there is such a service."""
        return self.state() != ServiceState.MISSING

    def alive(self) -> bool:
        """Whether it runs."""
        return self.state() == ServiceState.ACTIVE

    def start(self) -> None:
        """Start it, unless it runs. Raises VMError if there is none, or if it does not start."""
        if self._must_exist() == ServiceState.INACTIVE:
            self._check(self._request_start(), "start")

    def stop(self) -> None:
        """Stop it, if it runs. Raises VMError if there is none, or if it does not stop."""
        if self._must_exist() == ServiceState.ACTIVE:
            self._check(self._request_stop(), "stop")

    def _must_exist(self) -> ServiceState:
        state = self.state()
        if state == ServiceState.MISSING:
            raise VMError(f"{self._vm.name()} has no service {self._name}", hint="is its package installed there?")
        return state

    def _check(self, status: CommandStatus, what: str) -> None:
        if status:
            raise VMError(
                f"{self._vm.name()}: the service {self._name} does not {what}",
                details=status.complaint,
                hint=f"lago shell {self._vm.name()}, and look at its log",
            )
