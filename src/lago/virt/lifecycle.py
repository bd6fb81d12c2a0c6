"""libvirt's event loop, and who waits for a machine to end."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import libvirt

_lock = threading.Lock()
_running = False


def start_loop() -> None:
    """Run libvirt's event loop in a thread of its own; must come before the first connection is opened."""
    global _running
    with _lock:
        if not _running:
            libvirt.virEventRegisterDefaultImpl()
            threading.Thread(target=_run, daemon=True, name="libvirt-events").start()
            _running = True


def _run() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


class Lifecycle:
    """Tells which machines of a connection have ended since, were halted for good by an I/O error, or booted again."""

    def __init__(self, connection: libvirt.virConnect) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._ended: dict[str, threading.Event] = {}
        self._starts: Counter[str] = Counter()
        self._rebooted: dict[str, threading.Event] = {}
        self._callbacks = [
            connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_event, None),
            connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, self._on_reboot, None),
        ]

    def _on_event(self, _con: Any, domain: libvirt.virDomain, event: int, detail: int, _opaque: Any) -> None:
        name = domain.name()
        if event == libvirt.VIR_DOMAIN_EVENT_STARTED:
            # Others start machines as well.
            self._settle(name)
            self.ended(name).clear()
            return
        ended = event in (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_CRASHED)
        if ended or (event, detail) == (
            libvirt.VIR_DOMAIN_EVENT_SUSPENDED,
            libvirt.VIR_DOMAIN_EVENT_SUSPENDED_IOERROR,
        ):
            with self._lock:
                if not self._starts[name]:
                    self.ended(name).set()

    def _on_reboot(self, _con: Any, domain: libvirt.virDomain, _opaque: Any) -> None:
        self.rebooted(domain.name()).set()

    def ended(self, name: str) -> threading.Event:
        """Set when the machine that libvirt calls `name` ends."""
        return self._ended.setdefault(name, threading.Event())

    def rebooted(self, name: str) -> threading.Event:
        """Set when the machine that libvirt calls `name` begins to boot again."""
        return self._rebooted.setdefault(name, threading.Event())

    @contextlib.contextmanager
    def starting(self, name: str) -> Iterator[None]:
        """Context manager: one request starts a machine; what it did before does not count, however late we are told.

        libvirt tells the events of a machine in their order, but after it has answered the requests that caused them.
        """
        with self._lock:
            self._starts[name] += 1
            self.ended(name).clear()
        try:
            yield
        except BaseException:
            self._settle(name)
            raise

    def _settle(self, name: str) -> None:
        with self._lock:
            self._starts[name] = max(0, self._starts[name] - 1)

    def close(self) -> None:
        """Stop listening, if only because libvirt has ended."""
        for callback in self._callbacks:
            with contextlib.suppress(libvirt.libvirtError):
                self._connection.domainEventDeregisterAny(callback)
