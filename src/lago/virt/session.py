"""The libvirt of an environment: the connection to it, and what all machines and nets there have in common."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Final

import libvirt

from .. import config
from ..bootstrap import logins
from ..errors import HypervisorError
from ..guest import console_log
from ..hypervisor import Hypervisor, accel, egress
from ..journal.writing import Journal
from ..paths import Paths
from ..topology.model import Domain, Net
from .connection import connect, refusals
from .lifecycle import Lifecycle, start_loop
from .on_purpose import NOTHING, OnPurpose

_LAST: Final = 10

STATES: Final[Mapping[int, str]] = {
    libvirt.VIR_DOMAIN_NOSTATE: "no state",
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "blocked",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "begin shut down",
    libvirt.VIR_DOMAIN_SHUTOFF: "shut off",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "suspended",
}
"""The words for libvirt's states, as `lago status` has always shown them."""


class Session:
    """Use the libvirt of an environment; it is connected to when it is first asked.

    Attributes:
        paths: where the files of the environment are.
        uuid: what tells its machines and nets from those of others at the same libvirt.
        hypervisor: where its libvirt lives.
        domains: what is decided of each machine now, by name, in the order of the init file.
        nets: what is decided of each net now, likewise.
        cancelled: set when whoever waits for machines is interrupted.
        on_purpose: what is wrong with a machine on purpose, by its name.
    """

    def __init__(
        self, paths: Paths, uuid: str, hypervisor: Hypervisor, domains: Mapping[str, Domain], nets: Mapping[str, Net]
    ) -> None:
        self.paths = paths
        self.uuid = uuid
        self.hypervisor = hypervisor
        self.domains = dict(domains)
        self.nets = dict(nets)
        self.cancelled = threading.Event()
        self.on_purpose: Callable[[str], OnPurpose] = lambda _name: NOTHING
        self._connection: tuple[libvirt.virConnect, Lifecycle] | None = None
        self._lock = threading.Lock()

    @cached_property
    def journal(self) -> Journal:
        """Journal of the environment, to be written."""
        return Journal(self.paths.prefix(), lambda: logins.secrets(self.domains.values()))

    @property
    def libvirt_con(self) -> libvirt.virConnect:
        """Connection to libvirt. Raises HypervisorError."""
        return self._connect()[0]

    @property
    def lifecycle(self) -> Lifecycle:
        """Record of which machines have ended since it was made."""
        return self._connect()[1]

    def _connect(self) -> tuple[libvirt.virConnect, Lifecycle]:
        with self._lock:
            # One to a libvirt that has ended meanwhile, with its hypervisor, is of no use.
            if self._connection is not None and not self._connection[0].isAlive():
                self._connection[1].close()
                self._connection = None
            if self._connection is None:
                start_loop()
                opened = self._open()
                self._connection = opened, Lifecycle(opened)
            return self._connection

    def _open(self) -> libvirt.virConnect:
        try:
            return connect(self.hypervisor.uri)
        except HypervisorError as error:
            if self.hypervisor.shared:
                raise
            # It is there, or was a moment ago, so that only its own words say why.
            log = self.paths.logs("hypervisor.log")
            said = "\n".join(console_log.tail(log, _LAST))
            raise HypervisorError(error.what, details=said, hint=f"lago doctor; the whole log is {log}") from error

    def close(self) -> None:
        """Close the connection to libvirt; the environment goes on.

        Another thread that just uses it may go on too: it is closed when nobody has it any more.
        """
        # What was interrupted and ended early may be tried again.
        self.cancelled.clear()
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection[1].close()

    @property
    def live(self) -> bool:
        """Whether there is a libvirt to ask. Raises HypervisorError if there is one, and no way to it any more."""
        connection = self._connection
        if (connection is not None and bool(connection[0].isAlive())) or self.hypervisor.running():
            return True
        self.hypervisor.refuse_lost()
        return False

    @cached_property
    def accel(self) -> accel.Accel:
        """Accelerator that machines run with. Raises HostError if KVM is asked for and does not work."""
        wanted = config.get("accel")
        if not self.hypervisor.shared or (self.hypervisor.local and os.access(accel.KVM_DEVICE, os.R_OK | os.W_OK)):
            return accel.choose(wanted)
        # Whether KVM works there can't be tried from here.
        offered = "type='kvm'" in self.libvirt_con.getCapabilities()
        kvm = wanted == "kvm" or (wanted == "auto" and offered)
        return accel.Accel("kvm" if kvm else "tcg", "libvirt says so" if wanted == "auto" else "it is asked for")

    @property
    def forwarders(self) -> list[str]:
        """Name servers that answer for names outside of the environment; none: those of libvirt's host."""
        return [] if self.hypervisor.shared else [egress.NAMESERVER]

    def live_states(self) -> dict[str, str]:
        """State of every machine that libvirt knows in a word, by libvirt's name; it is asked once for all."""
        if not self.live:
            return {}
        with refusals("the state of machines can't be asked"):
            stats = self.libvirt_con.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE)
            return {domain.name(): STATES.get(said.get("state.state", -1), "unknown") for domain, said in stats}

    def live_nets(self) -> set[str]:
        """Names, as libvirt has them, of the nets that are up; it is asked once for all."""
        if not self.live:
            return set()
        with refusals("the state of nets can't be asked"):
            found = self.libvirt_con.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE)
            return {net.name() for net in found}
