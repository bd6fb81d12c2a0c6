"""What plugins for machines, their providers and their services must offer."""

from __future__ import annotations

import enum
from typing import Any, ClassVar, Protocol


class VMPlugin(Protocol):
    """A kind of machine, chosen by `vm-type` in an init file."""

    def __init__(self, env: Any, spec: Any) -> None:
        """A machine of the environment `env`, as `spec` describes it."""


class VMProviderPlugin(Protocol):
    """What runs a machine, chosen by `vm-provider` in an init file.

    It may offer more: `export_disks`, `interactive_console`, `extract_paths`, `extract_paths_dead`.
    """

    def __init__(self, vm: Any) -> None:
        """The provider of one machine."""

    def start(self) -> None:
        """Start it."""

    def stop(self) -> None:
        """Stop it as by pulling the plug."""

    def shutdown(self) -> None:
        """Ask it to power off."""

    def reboot(self) -> None:
        """Ask it to boot again."""

    def bootstrap(self) -> None:
        """Prepare its disks, before its first start."""

    def state(self) -> str:
        """Its state in a word."""

    def running(self) -> bool:
        """Whether it runs."""

    def create_snapshot(self, name: str) -> None:
        """Take a snapshot."""

    def revert_snapshot(self, name: str) -> None:
        """Go back to a snapshot."""


class ServiceState(enum.IntEnum):
    """How a service of a guest is."""

    MISSING = 0
    """The guest has no such service."""

    INACTIVE = 1
    """It doesn't run."""

    ACTIVE = 2
    """It runs."""


class ServicePlugin(Protocol):
    """A service manager of guests: one service of one machine."""

    BIN_PATH: ClassVar[str]
    """Program that is there in guests with this manager."""

    def __init__(self, vm: Any, name: str) -> None:
        """The service `name` of a machine."""

    def state(self) -> ServiceState:
        """How it is."""

    def start(self) -> None:
        """Start it."""

    def stop(self) -> None:
        """Stop it."""

    @classmethod
    def is_supported(cls, vm: Any) -> bool:
        """Whether a machine has this manager."""
