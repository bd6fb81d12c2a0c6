"""The machines of an oVirt environment that are not its engine."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from typing import Any, Final

from lago.environment.collect import flat_names
from lago.log import no_phase
from lago.virt import VM

_DIAL: Final = 1
"""Seconds for a connection; who waits for a server that is not there yet tries again."""


class TestVM(VM):
    """A machine of an oVirt environment."""

    __test__ = False  # pytest takes classes of this name for tests

    def _artifact_paths(self) -> list[str]:
        """Return what `collect` takes from machines of this kind, besides what their init file says."""
        return []

    def artifacts(self) -> tuple[str, ...]:
        """Return the paths on it that are collected: those of its init file, and those of its kind."""
        return tuple(dict.fromkeys((*super().artifacts(), *self._artifact_paths())))

    def collect_artifacts(self, host_path: str) -> None:
        """Copy its artifacts to this host; those that are not there are left out.

        Args:
            host_path: a directory that exists.

        Raises:
            ExtractPathError: they can't be had.
        """
        names = flat_names(self.artifacts())
        self.extract_paths(((path, os.path.join(host_path, name)) for path, name in names.items()), ignore_nopath=True)

    def dial(self, port: int) -> socket.socket:
        """Open a connection to one of its TCP ports, tried for a second. Raises OSError, HypervisorError."""
        return self.env.connect(self.name(), port, _DIAL * self.env.accel.time_factor)


class HostVM(TestVM):
    """A machine that runs virtual machines for the engine."""

    def _artifact_paths(self) -> list[str]:
        return ["/var/log/vdsm", "/var/log"]


class NodeVM(TestVM):
    """A machine with an image of oVirt Node, which nobody logs in to before the engine knows it."""

    def wait_for_ssh(self, connect_retries: int | None = 50, on_phase: Any = no_phase, *_: Any, **__: Any) -> None:
        """Wait for nothing."""


def machine_of(machines: Iterable[VM], *addresses: str | None) -> TestVM | None:
    """Return the one of some machines that has one of some addresses or names, be they qualified or not.

    Args:
        machines: those of an environment.
        addresses: what an engine says of a host; None is left out.

    Returns:
        None if there is no such machine, or if it is none of an oVirt environment.
    """
    for vm in machines:
        names = {vm.name().lower(), vm.spec.host_name.lower()}
        known = {*names, *vm.all_ips}
        # A name may have dots of its own, and a domain behind it.
        said = [one.lower() for one in addresses if one]
        if any(one in known or one.startswith(tuple(f"{name}." for name in names)) for one in said):
            return vm if isinstance(vm, TestVM) else None
    return None
