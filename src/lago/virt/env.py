"""An environment's machines and networks together."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Protocol

import libvirt

from .. import config
from ..errors import LagoError, VMNotFound
from ..guest import ssh
from ..host.parallel import in_parallel
from ..host.suggest import near
from ..hypervisor import Hypervisor, accel, egress
from ..log import LOG, no_phase, task
from ..paths import Paths
from ..topology import state
from ..topology.model import Domain, Net, Topology
from ..topology.names import libvirt_domain_name
from . import factory, network
from .connection import connect, refusals
from .lifecycle import Ends, start_loop
from .network import Network
from .readiness import Phase
from .vm import STATES, VM

_GRACE = 3.0


class Home(Protocol):
    """What an environment needs to know of its prefix."""

    @property
    def paths(self) -> Paths:
        """Where its files are."""

    @property
    def libvirt_uuid(self) -> str:
        """What tells its machines and networks from those of others at the same libvirt."""

    @property
    def hypervisor(self) -> Hypervisor:
        """Where its libvirt lives."""

    def guest(self, name: str) -> ssh.Guest:
        """How to log in to a machine."""

    def create_snapshots(self, name: str, *, vms: Iterable[str] = ()) -> Any:
        """Take a snapshot of machines; all, if none is named."""

    def revert_snapshots(self, name: str, *, vms: Iterable[str] = ()) -> None:
        """Go back to a snapshot with machines of it; all, if none is named."""


class Stored(Home, Protocol):
    """A prefix with an environment on disk."""

    @property
    def topology(self) -> Topology:
        """The environment."""


class VirtEnv:
    """The machines `vm_specs` and networks `net_specs` of a prefix, by name."""

    def __init__(self, prefix: Home, vm_specs: Mapping[str, Domain], net_specs: Mapping[str, Net]) -> None:
        self.home = prefix
        self.paths = prefix.paths
        self.uuid = prefix.libvirt_uuid
        self.hypervisor: Hypervisor = prefix.hypervisor
        self._vms = {name: factory.make(self, spec, self.vm_class(spec)) for name, spec in vm_specs.items()}
        self._nets = {name: network.make(self, spec) for name, spec in net_specs.items()}
        self._connection: tuple[libvirt.virConnect, Ends] | None = None
        self._lock = threading.Lock()
        self.cancelled = threading.Event()

    @classmethod
    def from_prefix(cls, prefix: Stored) -> VirtEnv:
        """The machines and networks that a prefix has on disk."""
        return cls(prefix, prefix.topology.domains, prefix.topology.nets)

    def vm_class(self, spec: Domain) -> type[VM]:
        """The class of a machine, the one that its `vm-type` names. Raises LagoError if it is not there."""
        return factory.kind_of(spec)

    def prefixed_name(self, unprefixed_name: str) -> str:
        """What libvirt calls a machine."""
        return libvirt_domain_name(self.uuid, unprefixed_name)

    def virt_path(self, *args: str) -> str:
        """A path in the directory of the prefix where machines and networks are described."""
        return self.paths.virt(*args)

    def save(self) -> None:
        """Write all machines and networks to disk."""
        domains = {name: vm.spec for name, vm in self._vms.items()}
        state.save(self.paths, Topology(domains=domains, nets={name: net.spec for name, net in self._nets.items()}))

    def bootstrap(self) -> None:
        """Prepare all machines for their first start, side by side."""
        in_parallel(lambda vm: vm.bootstrap(), self._vms.values(), what="bootstrap VMs")

    @property
    def libvirt_con(self) -> libvirt.virConnect:
        """The connection to libvirt. Raises HypervisorError."""
        return self._connected()[0]

    @property
    def ends(self) -> Ends:
        """Who has ended."""
        return self._connected()[1]

    def _connected(self) -> tuple[libvirt.virConnect, Ends]:
        with self._lock:
            # One to a libvirt that has ended meanwhile, with its hypervisor, is of no use.
            if self._connection is not None and not self._connection[0].isAlive():
                self._connection[1].close()
                self._connection = None
            if self._connection is None:
                start_loop()
                opened = connect(self.hypervisor.uri)
                self._connection = opened, Ends(opened)
            return self._connection

    def close(self) -> None:
        """Let go of the connection to libvirt; the environment goes on.

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
        """How machines run. Raises HostError if KVM is asked for and does not work."""
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

    def guest(self, name: str) -> ssh.Guest:
        """How to log in to a machine."""
        return self.home.guest(name)

    def get_vms(self) -> Mapping[str, VM]:
        """All machines by name."""
        return self._vms

    def get_vm(self, name: str) -> VM:
        """A machine. Raises VMNotFound."""
        if name not in self._vms:
            raise VMNotFound(f"there is no machine {name}", hint=near(name, self._vms))
        return self._vms[name]

    def get_nets(self) -> Mapping[str, Network]:
        """All networks by name."""
        return self._nets

    def get_net(self, name: str | None = None) -> Network:
        """A network; without a name the first management net. Raises LagoError."""
        if name is None:
            return next(net for net in self._nets.values() if net.is_management())
        if name not in self._nets:
            raise LagoError(f"there is no net {name}", hint=near(name, self._nets))
        return self._nets[name]

    def connect(self, vm: str, port: int, timeout: float = 10) -> socket.socket:
        """A TCP connection to a machine, tried for `timeout` seconds. Raises OSError, VMNotFound."""
        return self.hypervisor.connect(self.get_vm(vm).ip(), port, timeout)

    def states(self) -> dict[str, str]:
        """The state of every machine in a word, by one question to libvirt."""
        known: dict[str, str] = {}
        if self.live:
            with refusals("the state of machines can't be asked"):
                for domain, stats in self.libvirt_con.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE):
                    known[domain.name()] = STATES.get(stats.get("state.state", -1), "unknown")
        return {
            name: vm.state() if vm.provider else known.get(vm.libvirt_name(), "down") for name, vm in self._vms.items()
        }

    def nets_up(self) -> set[str]:
        """Names of the networks that are up, by one question to libvirt."""
        if not self.live:
            return set()
        with refusals("the state of nets can't be asked"):
            found = self.libvirt_con.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE)
            active = {net.name() for net in found}
        return {name for name, net in self._nets.items() if net.libvirt_name() in active}

    def start(self, names: Iterable[str] = (), on_phase: Phase = no_phase) -> None:
        """Start machines (all, if none is named) with the networks they need, and wait until they answer ssh.

        If libvirt refuses, what this call started is stopped again. A machine that runs but does not answer is left
        running, for a look at it.

        Raises:
            HypervisorError: libvirt refuses.
            VMNotReady: a machine did not come up in time.
        """
        vms = self.select(names)
        nets = [self._nets[name] for name in dict.fromkeys(nic.net for vm in vms for nic in vm.nics())]
        with task("Start hypervisor"):
            self.ensure()
            fresh = {name for name, state in self.states().items() if state != "running"}
            up = self.nets_up()
            LOG.debug("machines run under %s: %s", self.accel.kind, self.accel.reason)
        try:
            with task("Start nets"):
                in_parallel(lambda net: net.start(), nets, what="start nets")
            with task("Start VMs"):
                in_parallel(lambda vm: _started(vm, on_phase), vms, what="start VMs")
        except BaseException:
            self._undo([vm for vm in vms if vm.name() in fresh], [net for net in nets if net.name() not in up])
            raise
        with task("Wait for ssh"):
            reachable = [vm for vm in vms if vm.spec.ip]
            in_parallel(lambda vm: _ready(vm, on_phase), reachable, what="wait for ssh", cancel=self.cancelled.set)

    def create_snapshots(self, name: str) -> None:
        """Take a snapshot of all machines; see `lago.Prefix.create_snapshots`."""
        self.home.create_snapshots(name)

    def revert_snapshots(self, name: str) -> None:
        """Go back to a snapshot; see `lago.Prefix.revert_snapshots`."""
        self.home.revert_snapshots(name)

    def ensure(self) -> None:
        """Have a libvirt to ask. Raises HostError or HypervisorError."""
        self.hypervisor.ensure([gw for net in self._nets.values() if net.is_management() and (gw := net.gw())])

    def _undo(self, vms: list[VM], nets: list[Network]) -> None:
        with task("Undo start"):
            todo: list[VM | Network] = [*reversed(vms), *reversed(nets)]
            for one in todo:
                try:
                    one.stop()
                except Exception as error:
                    LOG.warning("%s can't be stopped: %s", one.name(), error)
            self.end_if_idle()

    def busy_subnets(self) -> set[str]:
        """The subnets of networks that libvirt has already, whoever made them."""
        return network.subnets(self.libvirt_con)

    def select(self, names: Iterable[str]) -> list[VM]:
        """Machines by name; all, if none is named. Raises VMNotFound."""
        return [self.get_vm(name) for name in names] or list(self._vms.values())

    def stop(self, names: Iterable[str] = ()) -> None:
        """Stop machines (all, if none is named) as by pulling the plug, and the networks nobody uses any more."""
        names = list(names)
        vms = self.select(names)
        if (not names and self.hypervisor.lost() is not None) or not self.live:
            self.hypervisor.end(0)
            return
        if not names and not self.hypervisor.shared:
            self._end()
            return
        in_parallel(lambda vm: vm.stop(), vms, what="stop VMs")
        self._stop_unused()

    def shutdown(
        self, names: Iterable[str] = (), *, reboot: bool = False, on_phase: Phase = no_phase
    ) -> dict[str, str]:
        """Power machines off, or boot them again, by ACPI, guest agent or force; by machine, which one that took.

        Without names all that run. The networks nobody uses any more are stopped.

        Raises:
            VMNotRunning: one that is named does not run.
            VMNotReady: one did not come up again.
        """
        names = list(names)
        running = {name for name, state in self.states().items() if state != "down"}
        vms = [vm for vm in self.select(names) if names or vm.name() in running]

        def one(vm: VM) -> str:
            on_phase(vm.name(), "rebooting" if reboot else "shutting down")
            how = vm.reboot() if reboot else vm.shutdown()
            on_phase(vm.name(), f"{'up' if reboot else 'off'}, by {how}")
            return how

        hows = in_parallel(one, vms, what="reboot VMs" if reboot else "shut VMs down", cancel=self.cancelled.set)
        if not reboot and self.live:
            self._stop_unused()
        return {vm.name(): how for vm, how in zip(vms, hows, strict=True)}

    def _stop_unused(self) -> None:
        running = [self._vms[name] for name, state in self.states().items() if state == "running"]
        used = {nic.net for vm in running for nic in vm.nics()}
        in_parallel(lambda net: net.stop(), [n for n in self._nets.values() if n.name() not in used], what="stop nets")
        self.end_if_idle()

    def discard(self) -> None:
        """Stop everything, for good: remove also what a libvirt that is not ours keeps of machines that are off."""
        self.stop()
        if self.hypervisor.shared:
            in_parallel(lambda vm: vm.discard(), self._vms.values(), what="discard VMs")

    def end_if_idle(self) -> None:
        """End a hypervisor of ours under which nothing runs."""
        if not self.hypervisor.shared and "running" not in self.states().values():
            self._end()

    def _end(self) -> None:
        self.close()
        self.hypervisor.end(_GRACE)


def _started(vm: VM, on_phase: Phase) -> None:
    on_phase(vm.name(), "starting")
    vm.start()


def _ready(vm: VM, on_phase: Phase) -> None:
    try:
        vm.wait_for_ssh(config.get("ssh_tries"), on_phase)
    except BaseException:
        on_phase(vm.name(), "failed")
        raise
    on_phase(vm.name(), "up")
