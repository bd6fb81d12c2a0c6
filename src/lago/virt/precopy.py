"""Machines whose memory QEMU writes while they run, round after round, and at the end what changed in the last one.

It is QEMU's own migration, to a socket that `unravel` reads. All machines are written side by side: in the first
round in step, and from then on each until little is left of it. Then its socket is not read, so QEMU waits and the
guest runs, until that is so of all; what is left is written when all stand still. A machine that changes its memory
faster than that is written is not waited for any longer after some rounds. One of which next to nothing is left is
stopped by QEMU itself, and the others have to stand still at once then.
https://www.qemu.org/docs/master/devel/migration/main.html
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import math
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final, NamedTuple

import libvirt
import libvirt_qemu

from ..errors import Errors, HypervisorError, LagoError
from ..host.full import says_full
from ..host.parallel import in_parallel
from ..host.waiting import poll
from ..log import LOG
from . import migration
from .machine import Machine
from .unravel import unravel

_FD: Final = "lago-precopy"
_CAPABILITY: Final = "x-ignore-shared"
_NO_LIMIT: Final = 1 << 50
_DOWNTIME: Final = 1
"""Milliseconds: what QEMU can write within so many it does not write before it stops a machine."""

_LEFT: Final = 4 << 20
"""Bytes that are little."""

_ROUNDS: Final = 6
"""How often all that has changed is written before a machine is not waited for any more."""

_AHEAD: Final = 1 / 64
"""By what part of its memory a machine may be further than another in the first round."""

_MARKS: Final = (7 / 8, 31 / 32)
_STALL: Final = 0.15
"""Seconds for which a machine is not read at these marks of the first round, if there are others.

QEMU stops a machine when what is left can be written within a moment at the speed that it measured in the last tenth of
a second: so it is slow just before it may think so. What comes after the marks is more than a socket has room for, as
the blocks of the firmware are the last of a round.
"""

_NARROW: Final = 1
"""Bytes that a socket is told to have room for; the system gives it some thousand."""

_ASKED: Final = 1.0
_PATIENCE: Final = 60.0
_ENDED: Final = ("completed", "failed", "cancelled")


FULL: Final = "the disk is full: lago snapshot delete an old one, or see df"
"""What can be done about it."""


class Files(NamedTuple):
    """Where a machine is saved to: its memory, and its description with what its devices hold."""

    memory: str
    state: str


class UnableError(HypervisorError):
    """A machine can't be saved in this way; it runs as before."""


def unable(error: BaseException) -> bool:
    """Whether an error says only that machines can't be saved in this way."""
    return all(map(unable, error.errors)) if isinstance(error, Errors) else isinstance(error, UnableError)


def _cancel(domain: libvirt.virDomain) -> None:
    """End what is under way of it. Raises HypervisorError, libvirtError."""

    def ended() -> None:
        status, runs = _status(domain), migration.ask(domain, "query-status", {})["status"]
        # QEMU lets a machine go on that it stopped, but not at once.
        if status not in (*_ENDED, "none") or runs == "finish-migrate":
            raise HypervisorError(f"QEMU still migrates: {status}")

    migration.ask(domain, "migrate_cancel", {})
    poll(ended, _PATIENCE, threading.Event(), HypervisorError)


def _status(domain: libvirt.virDomain) -> str:
    return str(migration.ask(domain, "query-migrate", {}).get("status", "none"))


class Precopy:
    """Save machines that run."""

    def __init__(self, machines: Sequence[tuple[Machine, Files]]) -> None:
        self._change = threading.Condition()
        self._released = False
        self._all = [_Saving(machine, files, self._change, self._halt) for machine, files in machines]

    def converge(self) -> None:
        """Return when little is left of all machines, or of those for which it is of use to wait.

        Raises:
            HypervisorError: the disk is full.
            UnableError: a machine can't be saved in this way.
        """
        in_parallel(_Saving.begin, self._all, what="save memory")
        while True:
            with self._change:
                heard = self._change.wait_for(lambda: self._settled() or any(map(_Saving.asks, self._all)), _ASKED)
            for one in self._all:
                one.check(heard=heard)
            if self._settled():
                return
            for one in filter(_Saving.asks, self._all):
                one.look()

    def _settled(self) -> bool:
        return all(one.near or one.ended for one in self._all) or any(one.stopped for one in self._all)

    def finish(self) -> None:
        """Write what is left of machines, which all stand still. Raises as `converge`."""
        self._release()
        in_parallel(_Saving.finish, self._all, what="save memory")

    def close(self) -> None:
        """Let machines that are not saved be as before."""
        self._release()
        for one in self._all:
            one.close()

    def _release(self) -> None:
        with self._change:
            self._released = True
            self._change.notify_all()

    def _halt(self, one: _Saving, reached: float) -> None:
        """Return when a machine may be read on, of which so much was read.

        QEMU answers nothing while it writes the end of one that it stopped, so that must be read, and nothing be asked
        of QEMU here.
        """

        def may_go_on() -> bool:
            behind = reached - _AHEAD if reached < 1 else 0
            waits = one.near or one.asks() or any(other.reached < behind for other in self._all)
            return self._released or one.stopped or bool(one.ended) or not waits

        with self._change:
            if len(self._all) > 1 and any(one.reached <= mark < reached for mark in _MARKS):
                one.narrow()
                self._change.wait_for(lambda: self._released or one.stopped, _STALL)
            one.reached = reached
            self._change.notify_all()
            self._change.wait_for(may_go_on)


class _Saving:
    """One machine.

    Attributes:
        reached: how often its memory was read.
        near: whether it need not be read any more while it runs.
        stopped: whether QEMU stopped it.
        ended: how QEMU's part ended, if it did.
    """

    def __init__(
        self, machine: Machine, files: Files, change: threading.Condition, halt: Callable[[_Saving, float], None]
    ) -> None:
        self._machine, self._files, self._change, self._halt = machine, files, change, halt
        self.reached = 0.0
        self.near = self.stopped = False
        self._round = self._looked = 0
        self.ended = ""
        self._ran = False
        self._theirs: socket.socket | None = None
        self._reading: Future[None] | None = None
        self._undo = contextlib.ExitStack()

    def begin(self) -> None:
        """Have QEMU begin, while the machine runs or stands still. Raises HypervisorError, UnableError."""
        with self._able():
            domain = self._machine.domain()
            self._ran = domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
            migration.allow(domain)
            parts = _parts(domain)
            self._undo.enter_context(_capable(domain))
            wanted = {"max-bandwidth": _NO_LIMIT, "downtime-limit": _DOWNTIME}
            migration.ask(domain, "migrate-set-parameters", wanted)
            self._undo.enter_context(_events(domain, self._note))
            ours, self._theirs = socket.socketpair()
            pool = self._undo.enter_context(ThreadPoolExecutor(max_workers=1))
            self._reading = pool.submit(contextvars.copy_context().run, self._read, ours, parts)
            self._reading.add_done_callback(lambda _: self._notify())
            migration.ask(domain, "getfd", {"fdname": _FD}, [self._theirs.fileno()])
            migration.ask(domain, "migrate", {"uri": f"fd:{_FD}"})

    def _read(self, ours: socket.socket, parts: list[str]) -> None:
        flags = libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE
        text = self._machine.domain().XMLDesc(flags).encode()
        memory = os.open(self._files.memory, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        with ours, open(memory, "r+b", buffering=0):
            try:
                with open(self._files.state, "wb") as state:
                    state.write(b"%d\n" % len(text) + text)
                    unravel(ours.fileno(), memory, state, parts, partial(self._halt, self))
                    for file in (memory, state.fileno()):
                        os.fchmod(file, 0o444)
            except BaseException:
                # Guests may need the room, and QEMU pauses one that finds none.
                os.truncate(memory, 0)
                raise

    def _note(self, event: str, details: dict[str, Any]) -> None:
        with self._change:
            if event == "STOP":
                self.stopped = True
            elif event == "MIGRATION_PASS":
                self._round = details["pass"]
            elif details["status"] in _ENDED:
                self.ended = details["status"]
            self._change.notify_all()

    def _notify(self) -> None:
        with self._change:
            self.reached = math.inf
            self._change.notify_all()

    def narrow(self) -> None:
        """Let QEMU be no further than what is read, so that it can be held."""
        if self._theirs is not None:
            self._theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _NARROW)
            self._close_theirs()

    def _close_theirs(self) -> None:
        """Leave QEMU's end of the socket to QEMU alone, so that its end is seen."""
        if self._theirs is not None:
            self._theirs.close()
            self._theirs = None

    def asks(self) -> bool:
        """Whether it is to be seen how much is left of it, or why it can't be read on."""
        broken = self._reading is not None and self._reading.done() and not self.ended
        return broken or (1 < self.reached < math.inf and self._looked < self._round)

    def look(self) -> None:
        """See whether little is left of it, once in each round. Raises HypervisorError, UnableError."""
        with self._able():
            self._looked = self._round
            left = migration.ask(self._machine.domain(), "query-migrate", {}).get("ram", {}).get("remaining", 0)
            LOG.debug("%s: round %d begins with %d bytes", self._machine.name(), self._round, left)
            with self._change:
                self.near = left <= _LEFT or self._looked > _ROUNDS
                self._change.notify_all()

    def check(self, *, heard: bool) -> None:
        """Raise UnableError or HypervisorError if it went wrong.

        Args:
            heard: whether QEMU told something of late. A machine that dies says nothing more.
        """
        with self._able():
            self._check(heard=heard)

    def _check(self, *, heard: bool) -> None:
        if not heard:
            self._note("MIGRATION", {"status": _status(self._machine.domain())})
        if self._reading is not None and self._reading.done():
            self._reading.result()
        if self.ended in ("failed", "cancelled"):
            self._close_theirs()
            # A file that can't be written is why, and not the socket that broke then.
            if self._reading is not None and isinstance(why := self._reading.exception(), OSError):
                raise why
            found = migration.ask(self._machine.domain(), "query-migrate", {})
            raise HypervisorError(f"QEMU can't: {found.get('error-desc', 'it does not say why')}")

    def finish(self) -> None:
        """Write what is left, while the machine stands still. Raises HypervisorError, UnableError."""
        try:
            if self._reading is None:
                self.begin()
            self._close_theirs()
            with self._able():
                self._wait(lambda: self.ended == "completed")
                if self._reading is not None:
                    self._reading.result()
        except BaseException:
            # The machine can't go on before.
            self._give_up()
            raise

    def _wait(self, come: Callable[[], bool]) -> None:
        heard = True
        while not come():
            self._check(heard=heard)
            with self._change:
                heard = come() or bool(self.ended) or self._change.wait(_ASKED)

    def close(self) -> None:
        """Let the machine be as before, unless it is saved."""
        # Upwards, as each of these waits for the one before: the reader ends when QEMU has ended its part.
        with self._undo:
            if self.ended != "completed" and self._give_up() and self._ran:
                # It may have found no room on its disks.
                with contextlib.suppress(LagoError, libvirt.libvirtError):
                    migration.ask(self._machine.domain(), "cont", {})

    def _give_up(self) -> bool:
        """End what QEMU does; whether there was something to end."""
        self._close_theirs()
        if self._reading is None:
            return False
        with contextlib.suppress(LagoError, libvirt.libvirtError):
            domain = self._machine.domain()
            _cancel(domain)
            # It may not have come to use it.
            migration.ask(domain, "closefd", {"fdname": _FD})
        return True

    @contextlib.contextmanager
    def _able(self) -> Iterator[None]:
        try:
            yield
        except (libvirt.libvirtError, LagoError, OSError) as error:
            what = f"{self._machine.name()} can't be saved"
            if says_full(error):
                raise HypervisorError(f"{what}: {error}", hint=FULL) from error
            raise UnableError(f"{what} while it runs: {error}") from error


def _parts(domain: libvirt.virDomain) -> list[str]:
    """Name the parts of a machine's memory, one for each NUMA cell in their order."""
    found = {one["id"]: one for one in migration.ask(domain, "query-memdev", {})}
    if (
        any(one["share"] for one in found.values())
        or sum(one["size"] for one in found.values()) != domain.maxMemory() << 10
    ):
        raise HypervisorError("its memory is not of the common kind")
    return sorted(found, key=lambda name: (len(name), name))


@contextlib.contextmanager
def _capable(domain: libvirt.virDomain) -> Iterator[None]:
    """Context manager: QEMU writes what `migration.read` reads; libvirt wants something else of it later."""

    def switch(state: bool) -> None:
        wanted = {"capabilities": [{"capability": _CAPABILITY, "state": state}]}
        migration.ask(domain, "migrate-set-capabilities", wanted)

    switch(True)
    try:
        yield
    finally:
        with contextlib.suppress(HypervisorError, libvirt.libvirtError):
            switch(False)


@contextlib.contextmanager
def _events(domain: libvirt.virDomain, note: Callable[[str, dict[str, Any]], None]) -> Iterator[None]:
    """Context manager: `note` is called with what QEMU says of its migration."""

    def on_event(_con: Any, _domain: Any, event: str, _s: int, _us: int, details: str, _opaque: Any) -> None:
        note(event, json.loads(details or "{}"))

    connection = domain.connect()
    with contextlib.ExitStack() as stack:
        for event in ("MIGRATION", "MIGRATION_PASS", "STOP"):
            watch = libvirt_qemu.qemuMonitorEventRegister(connection, domain, event, on_event, None, 0)
            stack.callback(libvirt_qemu.qemuMonitorEventDeregister, connection, watch)
        yield
