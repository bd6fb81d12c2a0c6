"""Jobs of a machine's QEMU, waited for by their events."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import defaultdict
from typing import Any, Final

import libvirt
import libvirt_qemu

from ..errors import HypervisorError
from ..host.parallel import Closing
from ..host.waiting import within
from . import migration

_PATIENCE: Final = 60.0
_ASK: Final = 1.0
"""Seconds after which the machine is asked as well: one that dies says nothing more."""


class Jobs(Closing):
    """Jobs that are started from now on, until it is closed. Raises libvirtError."""

    def __init__(self, domain: libvirt.virDomain) -> None:
        self._domain = domain
        self._seen: defaultdict[str, set[str]] = defaultdict(set)
        self._changed = threading.Condition()
        self._connection = domain.connect()
        self._watch = libvirt_qemu.qemuMonitorEventRegister(
            self._connection, domain, "JOB_STATUS_CHANGE", self._on_event, None, 0
        )

    def _on_event(self, _con: Any, _domain: Any, _event: str, _s: int, _us: int, details: str, _opaque: Any) -> None:
        said = json.loads(details)
        with self._changed:
            self._seen[said["id"]].add(said["status"])
            self._changed.notify_all()

    def wait(self, job: str, status: str) -> None:
        """Return when a job has come to a status. Raises HypervisorError if it fails or takes too long."""
        with self._changed:
            for left in within(_PATIENCE):
                seen = self._seen[job]
                if status in seen:
                    return
                if seen & {"aborting", "null"}:
                    raise HypervisorError(f"QEMU's job {job} failed")
                if not self._changed.wait(min(left, _ASK)):
                    migration.ask(self._domain, "query-jobs", {})
        raise HypervisorError(f"QEMU's job {job} did not come to {status} within {_PATIENCE:g} s")

    def end(self, job: str) -> None:
        """Return when a job has gone; another one may have its name then. Raises as `wait`."""
        self.wait(job, "null")
        with self._changed:
            del self._seen[job]

    def outcome(self, job: str) -> None:
        """Return when a job that stays until it is dismissed has done its work. Raises HypervisorError if it failed."""
        self.wait(job, "concluded")
        found = [one for one in migration.ask(self._domain, "query-jobs", {}) if one["id"] == job]
        migration.ask(self._domain, "job-dismiss", {"id": job})
        self.end(job)
        if error := next((one["error"] for one in found if "error" in one), ""):
            raise HypervisorError(f"QEMU's job {job} failed: {error}")

    def close(self) -> None:
        with contextlib.suppress(libvirt.libvirtError):
            libvirt_qemu.qemuMonitorEventDeregister(self._connection, self._watch)
