"""Machines that a plugin runs, by the contract `lago.plugins.contracts.VMProviderPlugin`."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from .. import config
from ..bootstrap import logins
from ..errors import ExtractPathError, ExtractPathNoPathError, LagoError, SSHError, VMError, VMNotReady
from ..guest.ssh import Guest
from ..log import LOG
from ..plugins.contracts import VMProviderPlugin
from .machine import Machine
from .readiness import Phase

_AGAIN: Final = 0.5
"""Seconds between two logins."""

_STRANGER: Final = "Host key verification failed"
"""What ssh says of a machine that is not the one that it should be; no other try would end better."""


class Provided:
    """Run a machine by a plugin.

    Args:
        plugin: the provider of this machine.
        kind: its name, the machine's `vm-provider`.
    """

    def __init__(self, machine: Machine, plugin: VMProviderPlugin, kind: str) -> None:
        self._machine = machine
        self._plugin = plugin
        self._kind = kind

    def _offer(self, name: str) -> Any:
        """What the plugin offers beyond what it must, or None."""
        return getattr(self._plugin, name, None)

    def refusal(self, what: str) -> VMError:
        """Return the error that this machine does not have what libvirt would give it."""
        return VMError(f"{self._machine.name()} {what}: it is run by the vm-provider {self._kind}")

    @property
    def outside(self) -> bool:
        """Whether it needs no net of the environment."""
        return self._offer("login") is not None or not self._machine.spec.nics

    def bootstrap(self) -> None:
        self._plugin.bootstrap()

    def start(self) -> None:
        if not self.alive():
            self._plugin.start()

    def stop(self) -> None:
        self._machine.guest.close()
        if self.alive():
            self._plugin.stop()

    def discard(self) -> None:
        """Do nothing: nothing is kept of it that is Lago's."""

    def shutdown(self) -> str:
        self._plugin.shutdown()
        self._machine.guest.close()
        return "its provider"

    def reboot(self) -> str:
        self._plugin.reboot()
        self._machine.guest.close()
        return "its provider"

    def state(self) -> str:
        return self._plugin.state()

    def alive(self) -> bool:
        return bool(self._plugin.running())

    def guest(self) -> Guest:
        machine, env = self._machine, self._machine.env
        number = list(env.domains).index(machine.name())
        if (login := self._offer("login")) is None:
            return logins.guest_of(machine.spec, number, env.paths, env.hypervisor)
        return logins.guest_outside(machine.spec, number, env.paths, login())

    def wait_for_ssh(
        self,
        seconds: float,
        on_phase: Phase,
        command: Callable[[], bool],
        tries: int | None,
        *,
        listens: bool,  # noqa: ARG002 - a login is tried at once in any case
    ) -> None:
        machine, guest, cancelled = self._machine, self._machine.guest, self._machine.env.cancelled
        if not guest.address:
            return
        deadline = time.monotonic() + seconds
        each = config.get("ssh_timeout") or math.inf
        last: LagoError | None = None
        failed = 0
        on_phase(machine.name(), "logging in")
        while not cancelled.is_set() and (left := deadline - time.monotonic()) > 0:
            try:
                guest.open(min(left, each), cancelled.is_set)
                if not command():
                    raise SSHError("it logs us in, but does not run a command")
                return
            except SSHError as error:
                LOG.debug("%s", error.render())
                guest.close()
                last, failed = error, failed + 1
            if (tries is not None and failed >= tries) or _STRANGER in last.details or not self.alive():
                break
            cancelled.wait(_AGAIN)
        if cancelled.is_set():
            raise VMNotReady(f"{machine.name()}: no longer waited for")
        waited = f" within {seconds:g} s" if time.monotonic() >= deadline else ""
        why = f"ssh: {last.what}" if last else "no login was tried"
        raise VMNotReady(
            f"{machine.name()} did not answer ssh{waited}: {why}",
            details=last.details if last else "",
            hint=f"its vm-provider {self._kind} says that it is {self.state()}",
        )

    def extract(self, paths: Iterable[tuple[str, str]]) -> list[str]:
        if (own := self._offer("extract_paths")) is not None:
            return _missing(own, paths)
        from . import extraction

        return extraction.extract(self._machine, paths, self._extract_dead, "its vm-provider is asked for its files")

    def _extract_dead(self, paths: Sequence[tuple[str, str]], why: str) -> list[str]:
        if (dead := self._offer("extract_paths_dead")) is not None:
            return _missing(dead, paths)
        raise ExtractPathError(
            f"{self._machine.name()}: its files can't be had, and its vm-provider {self._kind} does not read its disks",
            details=why,
            hint=f"lago start {self._machine.name()}",
        )

    def interactive_console(self, stdin: int, stdout: int, *, force: bool) -> bool:
        if (own := self._offer("interactive_console")) is None:
            raise self.refusal("has no console here")
        return bool(own(stdin, stdout, force=force))

    def create_snapshot(self, name: str) -> None:
        """Take a snapshot, in place of one of the same name."""
        self._plugin.create_snapshot(name)

    def revert_snapshot(self, name: str) -> None:
        """Go back to a snapshot."""
        self._machine.guest.close()
        self._plugin.revert_snapshot(name)

    def export_disks(self, directory: str, *, standalone: bool, compress: bool) -> list[str]:
        """Write its disks as files of a directory of this host; their names. Raises VMError if it can't."""
        if (own := self._offer("export_disks")) is not None:
            return [os.path.basename(path) for path in own(standalone, directory, compress)]
        if self._machine.spec.disks:
            raise self.refusal("can't be exported")
        return []


def _missing(extract: Callable[..., None], paths: Iterable[tuple[str, str]]) -> list[str]:
    """Have a plugin copy files, and return the paths that are not there. It says of one at a time whether it is."""
    missing = []
    for one in paths:
        try:
            extract([one], ignore_nopath=False)
        except ExtractPathNoPathError:
            missing.append(one[0])
    return missing
