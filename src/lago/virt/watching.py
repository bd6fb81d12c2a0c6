"""The program that writes to the journal what nobody does: what machines say, their states, and their addresses.

It runs beside libvirt, in the namespaces of a private hypervisor, with which it ends. It ends when libvirt does, when
it is told to, and under a libvirt of others when no machine of ours has run for a while.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import libvirt

from ..bootstrap import logins
from ..errors import LagoError
from ..host.inotify import Directory
from ..host.waiting import readable
from ..journal.writing import Journal
from ..paths import Paths
from ..topology import state
from ..topology.model import Topology
from ..topology.names import libvirt_domain_name, libvirt_net_name
from .connection import connect
from .heard import Consoles, Seen
from .lifecycle import start_loop
from .session import STATES

_PACE: Final = 0.05
"""Seconds from one look at consoles to the next: who writes without end wakes us without end."""

_SOON: Final = 1.0
_LEASES: Final = "/var/lib/libvirt/dnsmasq"
_LEASES_PACE: Final = 10.0
"""Seconds after which leases are asked for of a libvirt that we can't look into."""

_IDLE: Final = 60.0
"""Seconds without a machine after which a libvirt of others is not listened to any more."""

_ENDED: Final = (STATES[libvirt.VIR_DOMAIN_SHUTOFF], STATES[libvirt.VIR_DOMAIN_CRASHED])
_EVENTS: Final[Mapping[int, tuple[str, str]]] = {
    libvirt.VIR_DOMAIN_EVENT_STARTED: (STATES[libvirt.VIR_DOMAIN_RUNNING], "STARTED"),
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: (STATES[libvirt.VIR_DOMAIN_PAUSED], "SUSPENDED"),
    libvirt.VIR_DOMAIN_EVENT_RESUMED: (STATES[libvirt.VIR_DOMAIN_RUNNING], "RESUMED"),
    libvirt.VIR_DOMAIN_EVENT_STOPPED: (STATES[libvirt.VIR_DOMAIN_SHUTOFF], "STOPPED"),
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: (STATES[libvirt.VIR_DOMAIN_SHUTDOWN], "SHUTDOWN"),
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: (STATES[libvirt.VIR_DOMAIN_PMSUSPENDED], "PMSUSPENDED"),
    libvirt.VIR_DOMAIN_EVENT_CRASHED: (STATES[libvirt.VIR_DOMAIN_CRASHED], "CRASHED"),
}
"""The state that an event leads to, and how the names of its reasons go on."""


def main(prefix: str, uuid: str, uri: str, shared: bool, lock_fd: int) -> NoReturn:
    """Write what happens until there is nothing to listen to; the lock is held as long as we live.

    Args:
        prefix: the directory of the prefix.
        uuid: what tells its machines and nets from those of others at the same libvirt.
        uri: where libvirt is.
        shared: whether others use it too.
        lock_fd: descriptor of the lock.
    """
    os.chdir("/")
    os.set_inheritable(lock_fd, False)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(FileNotFoundError):
        _Watching(Paths(prefix), uuid, uri, shared=shared).go()
    os._exit(0)


class _Watching:
    def __init__(self, paths: Paths, uuid: str, uri: str, *, shared: bool) -> None:
        topology = state.load(paths)
        self._paths = paths
        self._shared = shared
        self._uri = uri
        self._journal = Journal(paths.prefix(), lambda: logins.secrets(topology.domains.values()))
        self._seen = Seen(paths)
        self._changed = False
        self._lock = threading.Lock()
        self._vms = {libvirt_domain_name(uuid, name): name for name in topology.domains}
        self._nets = {libvirt_net_name(uuid, name): name for name in topology.nets}
        self._nics = _nics(topology)
        self._logs = Directory(paths.logs())
        self._consoles = Consoles(paths, topology.domains, self._seen)
        self._connection: libvirt.virConnect | None = None
        self._heard: set[str] = set()
        self._wake = os.pipe()

    def go(self) -> None:
        """Listen until there is nothing to listen to any more."""
        for end in self._wake:
            os.set_blocking(end, False)
        stopped = threading.Event()

        def stop(*_: object) -> None:
            stopped.set()
            self._awake()

        signal.signal(signal.SIGTERM, stop)
        # Consoles speak while we connect.
        threading.Thread(target=self._connect, daemon=True).start()
        leases = _directory(_LEASES) if not self._shared else None
        fds = [self._logs.fd, self._wake[0], *([leases.fd] if leases else [])]
        last_leases = used = time.monotonic()
        asked = False
        while not self._logs_gone() and not stopped.is_set():
            self._look()
            now = time.monotonic()
            if leases is not None and readable([leases.fd], 0):
                leases.wait(0)
                asked = True
            # Guests ask for addresses as often as they like.
            if now - last_leases >= (_SOON if asked else _LEASES_PACE if leases is None else math.inf):
                last_leases, asked = now, False
                self._ask_for_leases()
            if self._connection is not None and not self._connection.isAlive():
                break
            if self._shared:
                with self._lock:
                    idle = all(one in _ENDED for one in self._seen.states.values())
                used = used if idle else now
                if now - used >= _IDLE:
                    break
            time.sleep(_PACE)
            pace = _LEASES_PACE if leases is None else None
            readable(fds, _SOON if self._consoles.unfinished or asked else pace)
        self._look(everything=True)

    def _awake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake[1], b"x")

    def _logs_gone(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake[0], select.PIPE_BUF)
        return self._logs.wait(0)

    def _look(self, *, everything: bool = False) -> None:
        entries = self._consoles.entries(everything=everything)
        if entries:
            self._journal.events(entries)
        with self._lock:
            changed, self._changed = self._changed or bool(entries), False
            if changed:
                with contextlib.suppress(OSError):
                    self._seen.save()

    def _connect(self) -> None:
        try:
            start_loop()
            connection = connect(self._uri)
            known = dict(self._seen.states)
            connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_event, None)
            connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, self._on_reboot, None)
            connection.registerCloseCallback(lambda *_: self._awake(), None)
            found = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE)
            now = {domain.name(): STATES.get(stats.get("state.state", -1), "unknown") for domain, stats in found}
            for name, vm in self._vms.items():
                if name in now:
                    self._tell(name, now[name], None)
                elif known.get(vm, _ENDED[0]) not in _ENDED and vm not in self._heard:
                    self._tell(name, _ENDED[0], "it has ended when nobody looked")
        except (libvirt.libvirtError, LagoError) as error:
            print(f"states and addresses are not known: {error}", file=sys.stderr, flush=True)
            return
        self._connection = connection
        self._ask_for_leases()
        self._awake()

    def _on_event(self, _con: Any, domain: libvirt.virDomain, event: int, detail: int, _opaque: Any) -> None:
        if event in _EVENTS:
            became, word = _EVENTS[event]
            if (event, detail) == (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED):
                became = STATES[libvirt.VIR_DOMAIN_CRASHED]
            self._tell(domain.name(), became, _reason(word, detail), again=True)

    def _on_reboot(self, _con: Any, domain: libvirt.virDomain, _opaque: Any) -> None:
        self._tell(domain.name(), STATES[libvirt.VIR_DOMAIN_RUNNING], "booted again", again=True)

    def _tell(self, libvirt_name: str, became: str, reason: str | None, *, again: bool = False) -> None:
        vm = self._vms.get(libvirt_name)
        if vm is None:
            return
        with self._lock:
            if self._seen.states.get(vm) == became and not again:
                return
            if again:
                self._heard.add(vm)
            self._seen.states[vm] = became
            self._changed = True
        self._journal.event("state", vm=vm, state=became, reason=reason)
        self._awake()

    def _ask_for_leases(self) -> None:
        connection = self._connection
        if connection is None:
            return
        for libvirt_name, net in self._nets.items():
            try:
                leases = connection.networkLookupByName(libvirt_name).DHCPLeases()
            except libvirt.libvirtError:
                continue
            for lease in leases:
                mac, ip = str(lease.get("mac") or "").lower(), str(lease.get("ipaddr") or "")
                self._tell_lease(net, mac, ip, lease.get("hostname"))

    def _tell_lease(self, net: str, mac: str, ip: str, hostname: str | None) -> None:
        vm, known = self._nics.get((net, mac)), f"{net} {mac} {ip}"
        with self._lock:
            if vm is None or known in self._seen.leases:
                return
            self._seen.leases.append(known)
            self._changed = True
        self._journal.event("lease", vm=vm, net=net, ip=ip, mac=mac, hostname=hostname)


def _nics(topology: Topology) -> dict[tuple[str, str], str]:
    """The machine of each interface, by its net and its address there."""
    return {(nic.net, nic.mac.lower()): name for name, vm in topology.domains.items() for nic in vm.nics}


def _reason(word: str, detail: int) -> str | None:
    """The reason of an event in words, as the names of libvirt's numbers have them."""
    begin = f"VIR_DOMAIN_EVENT_{word}_"
    found = [name for name in dir(libvirt) if name.startswith(begin) and getattr(libvirt, name) == detail]
    return found[0].removeprefix(begin).lower().replace("_", " ") if found else None


def _directory(path: str) -> Directory | None:
    try:
        return Directory(path)
    except OSError:
        return None
