"""libvirt's event loop, and who waits for a machine to end."""

from __future__ import annotations

import threading
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


class Ends:
    """Tells which machines of a connection have ended since, or were halted for good by an I/O error."""

    def __init__(self, connection: libvirt.virConnect) -> None:
        self._connection = connection
        self._ended: dict[str, threading.Event] = {}
        self._callback = connection.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_event, None
        )

    def _on_event(self, _con: Any, domain: libvirt.virDomain, event: int, detail: int, _opaque: Any) -> None:
        ended = event in (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_CRASHED)
        if ended or (event, detail) == (
            libvirt.VIR_DOMAIN_EVENT_SUSPENDED,
            libvirt.VIR_DOMAIN_EVENT_SUSPENDED_IOERROR,
        ):
            self.of(domain.name()).set()

    def of(self, name: str) -> threading.Event:
        """Set when the machine that libvirt calls `name` ends."""
        return self._ended.setdefault(name, threading.Event())

    def forget(self, name: str) -> None:
        """The machine is about to start; what it did before does not count."""
        self.of(name).clear()

    def close(self) -> None:
        """Stop listening."""
        self._connection.domainEventDeregisterAny(self._callback)
