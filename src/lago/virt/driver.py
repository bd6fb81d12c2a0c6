"""What runs a machine: the contract of which there is a class for libvirt, and one for plugins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from ..guest.ssh import Guest
from .readiness import Phase


class Driver(Protocol):
    """Run one machine. `libvirt_driver.Libvirt` does so by libvirt, `provided.Provided` by a plugin.

    What reaches into a machine, such as files and commands, is here as far as it depends on what runs it.
    """

    def bootstrap(self) -> None:
        """Prepare it for its first start."""

    def start(self) -> None:
        """Start it, unless it runs."""

    def stop(self) -> None:
        """End it as by pulling the plug, and forget it."""

    def discard(self) -> None:
        """Remove what is kept of it though it was stopped."""

    def shutdown(self) -> str:
        """Power it off while it runs; which way that took."""

    def reboot(self) -> str:
        """Boot it again while it runs, without waiting until it answers; which way that took."""

    def state(self) -> str:
        """State in a word; `down` if nothing is left of it."""

    def alive(self) -> bool:
        """Whether it runs, or stands still."""

    def guest(self) -> Guest:
        """Way to log in to it; without an address nobody does."""

    def wait_for_ssh(
        self, seconds: float, on_phase: Phase, command: Callable[[], bool], tries: int | None, *, listens: bool
    ) -> None:
        """Return when it has run a command over ssh.

        Args:
            seconds: for which it is waited, if it is not emulated.
            command: runs one, and says whether it succeeded, as it must.
            tries: how many logins may fail; None: any number.
            listens: it runs since long, it was only brought back.

        Raises:
            VMNotReady: it has not in time, or never will; says how far it came.
        """

    def extract(self, paths: Iterable[tuple[str, str]]) -> list[str]:
        """Copy files and trees of it to paths of this host; those that are not there on it.

        Raises:
            ExtractPathError: they can't be had.
        """

    def interactive_console(self, stdin: int, stdout: int, *, force: bool) -> bool:
        """Connect a terminal with its console until it is left; whether the machine ended."""
