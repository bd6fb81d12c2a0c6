"""An environment's machines and nets together."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final, Protocol

import libvirt

from .. import config
from ..bootstrap import logins
from ..errors import LagoError, VMNotFound
from ..guest.ssh import Guest
from ..host.parallel import in_parallel, no_errand
from ..host.suggest import near
from ..host.trust import read_uuid
from ..hypervisor import Hypervisor, dial, rundir
from ..log import LOG, no_phase, task
from ..paths import Paths
from ..topology import state
from ..topology.model import Domain, Net, Topology
from ..topology.names import libvirt_domain_name
from . import factory, network, passed, watch
from .breakable import Faults
from .network import Network
from .readiness import Phase
from .session import STATES
from .vm import VM, Environment, Snapshots

_GRACE = 3.0
_ENDED: Final = ("down", STATES[libvirt.VIR_DOMAIN_SHUTOFF], STATES[libvirt.VIR_DOMAIN_CRASHED])


class Origin(Snapshots, Faults, Protocol):
    """What an environment is made from, what takes snapshots of its machines and breaks them: a `lago.Prefix`."""

    @property
    def paths(self) -> Paths:
        """Where its files are."""

    @property
    def libvirt_uuid(self) -> str:
        """What tells its machines and nets from those of others at the same libvirt."""

    @property
    def hypervisor(self) -> Hypervisor:
        """Where its libvirt lives."""

    @property
    def topology(self) -> Topology:
        """What it has on disk."""


class VirtEnv(Environment):
    """The machines and nets of a prefix together.

    Args:
        prefix: whose they are, a `lago.Prefix`.
        vm_specs: descriptions of the machines, by name.
        net_specs: descriptions of the nets, by name.
    """

    def __init__(self, prefix: Origin, vm_specs: Mapping[str, Domain], net_specs: Mapping[str, Net]) -> None:
        super().__init__(prefix.paths, prefix.libvirt_uuid, prefix.hypervisor, vm_specs, net_specs)
        self._origin = prefix
        self.snapshots = prefix
        self.faults = prefix
        self._vms = {name: factory.make(self, spec, self.vm_class(spec)) for name, spec in vm_specs.items()}
        self._nets = {name: network.make(self, spec) for name, spec in net_specs.items()}

    @classmethod
    def from_prefix(cls, prefix: Origin) -> VirtEnv:
        """Make the machines and nets that a prefix has on disk.

        Args:
            prefix: whose they are, a `lago.Prefix`.

        Raises:
            LagoError: a `vm-type` or a `vm-provider` is not there.
        """
        return cls(prefix, prefix.topology.domains, prefix.topology.nets)

    def vm_class(self, spec: Domain) -> type[VM]:
        """Class of a machine, the one that its `vm-type` names; a subclass may choose others.

        Args:
            spec: the description of the machine.

        Raises:
            LagoError: there is no such `vm-type`.
        """
        return factory.kind_of(spec)

    def prefixed_name(self, unprefixed_name: str) -> str:
        """Name that libvirt knows a machine by.

        Args:
            unprefixed_name: its name in the init file.
        """
        return libvirt_domain_name(self.uuid, unprefixed_name)

    def virt_path(self, *args: str) -> str:
        """Path in the directory of the prefix where machines and nets are described.

        Args:
            args: names below it, joined to a path; without them the directory itself.
        """
        return self.paths.virt(*args)

    def save(self) -> None:
        """Write all machines and nets to disk."""
        state.save(self.paths, Topology(domains=self.domains, nets=self.nets, faults=self._origin.topology.faults))

    def bootstrap(self) -> None:
        """Prepare all machines for their first start, side by side."""
        in_parallel(lambda vm: vm.bootstrap(), self._vms.values(), what="bootstrap VMs")

    def guest(self, name: str) -> Guest:
        """Way to log in to a machine, by the configuration of now.

        Args:
            name: the machine, by its name in the init file.

        Raises:
            VMNotFound: there is no machine of that name.
        """
        return self.get_vm(name).driver.guest()

    def get_vms(self) -> Mapping[str, VM]:
        """Machines by name, in the order of the init file."""
        return self._vms

    def get_vm(self, name: str) -> VM:
        """Machine of a name.

        Args:
            name: its name in the init file.

        Raises:
            VMNotFound: there is no machine of that name.
        """
        if name not in self._vms:
            raise VMNotFound(f"there is no machine {name}", hint=near(name, self._vms))
        return self._vms[name]

    def get_nets(self) -> Mapping[str, Network]:
        """Nets by name, in the order of the init file."""
        return self._nets

    def get_net(self, name: str | None = None) -> Network:
        """Net of a name.

        Args:
            name: its name in the init file; without it the first management net.

        Raises:
            LagoError: there is no net of that name.
        """
        if name is None:
            return next(net for net in self._nets.values() if net.is_management())
        if name not in self._nets:
            raise LagoError(f"there is no net {name}", hint=near(name, self._nets))
        return self._nets[name]

    def connect(self, vm: str, port: int, timeout: float = 10) -> socket.socket:
        """Connect to a TCP port of a machine, which may still be about to listen there.

        Args:
            vm: the machine, by its name in the init file.
            port: the number of the port.
            timeout: seconds for which it is tried.

        Returns:
            The connected socket, which the caller closes.

        Raises:
            VMNotFound: there is no machine of that name.
            OSError: there is no connection by then.
        """
        machine = self.get_vm(vm)
        self.resume()
        if machine.outside and machine.guest.address:
            return dial.reach(machine.guest.address, port, timeout)
        return self.hypervisor.connect(machine.ip(), port, timeout)

    def states(self) -> dict[str, str]:
        """State of every machine in a word, by its name; libvirt is asked once for all."""
        known = self.live_states()
        states = {name: known.get(vm.libvirt_name(), "down") for name, vm in self._vms.items()}
        return {**states, **self.provided_states()}

    def provided_states(self) -> dict[str, str]:
        """State of every machine that a plugin runs, in its words; `unknown` if it can't tell."""

        def one(vm: VM) -> str:
            try:
                return vm.state()
            except (LagoError, OSError) as error:
                LOG.warning("the state of %s can't be asked: %s", vm.name(), error)
                return "unknown"

        provided = [vm for vm in self._vms.values() if vm.provider is not None]
        states = in_parallel(one, provided, what="ask for states")
        return {vm.name(): state for vm, state in zip(provided, states, strict=True)}

    def nets_up(self) -> set[str]:
        """Names of the nets that are up; libvirt is asked once for all."""
        active = self.live_nets()
        return {name for name, net in self._nets.items() if net.libvirt_name() in active}

    def start(
        self, names: Iterable[str] = (), on_phase: Phase = no_phase, begun: Callable[[], None] = no_errand
    ) -> None:
        """Start machines with the nets that they need, and wait until they answer ssh.

        If libvirt refuses, what this call started is stopped again. A machine that runs but does not answer is left
        running, for a look at it.

        Args:
            names: names of the machines; without them all.
            on_phase: called with a machine's name and what it does now, such as `booting`; without it nobody is told.
            begun: called when all run, before they are waited for; without it nothing is done then.

        Raises:
            VMNotFound: there is no machine of that name.
            HostError: this host can't run the hypervisor; says what lacks.
            HypervisorError: libvirt refuses.
            VMNotReady: a machine did not come up in time.
        """
        vms = self.select(names)
        self.resume()
        here = [vm for vm in vms if not vm.outside]
        nets = [self._nets[name] for name in dict.fromkeys(nic.net for vm in here for nic in vm.nics())]
        # Where all machines are elsewhere there is nothing to start, and to tell.
        step = task if here else contextlib.nullcontext
        with step("Start hypervisor"):
            if here:
                self.ensure()
            fresh = {name for name, state in self.states().items() if state in _ENDED}
            up = self.nets_up()
            if here:
                LOG.debug("machines run under %s: %s", self.accel.kind, self.accel.reason)
        try:
            with step("Start nets"):
                in_parallel(lambda net: net.start(), nets, what="start nets")
            with task("Start VMs"):
                in_parallel(lambda vm: _start(vm, on_phase), vms, what="start VMs")
            begun()
        except BaseException:
            self._undo([vm for vm in vms if vm.name() in fresh], [net for net in nets if net.name() not in up])
            raise
        with task("Wait for ssh"):
            reachable = [vm for vm in vms if vm.guest.address and not self.on_purpose(vm.name()).silent]
            in_parallel(
                lambda vm: _wait_until_ready(vm, on_phase), reachable, what="wait for ssh", cancel=self.cancelled.set
            )

    def create_snapshots(self, name: str) -> None:
        """Take a snapshot: memory and disks of all machines at one instant. If that fails, all go on as before.

        Args:
            name: what to call it: letters, digits, and `.`, `_`, `+`, `-` inside; 100 characters at most.

        Raises:
            LagoError: there is one of that name, or the name can't be one.
            VMError: the state of a machine can't be saved.
        """
        self.snapshots.create_snapshots(name)

    def revert_snapshots(self, name: str) -> None:
        """Go back to a snapshot with all its machines, and return when they answer ssh. What they did since is lost.

        Args:
            name: the name that it was taken by.

        Raises:
            LagoError: there is no such snapshot, or files of it are missing.
            VMNotReady: a machine does not answer.
        """
        self.snapshots.revert_snapshots(name)

    def ensure(self) -> None:
        """Start the hypervisor, unless there is a libvirt to ask. Raises HostError or HypervisorError."""
        nameservers = [gw for net in self._nets.values() if net.is_management() and (gw := net.gw())]
        self.hypervisor.ensure(nameservers, partial(passed.files, self.domains.values(), self.paths))
        watch.begin(self)

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
        """Subnets of all nets that libvirt has, whoever made them, as `address/mask`."""
        return network.subnets(self.libvirt_con)

    def select(self, names: Iterable[str]) -> list[VM]:
        """Machines of some names.

        Args:
            names: names in the init file; without any all machines.

        Raises:
            VMNotFound: there is no machine of that name.
        """
        return [self.get_vm(name) for name in names] or list(self._vms.values())

    def stop(self, names: Iterable[str] = ()) -> None:
        """Stop machines as by pulling the plug, and the nets that nobody uses any more.

        Args:
            names: names of the machines; without them all.

        Raises:
            VMNotFound: there is no machine of that name.
        """
        names = list(names)
        vms = self.select(names)
        ours = partial(self._stop_ours, [vm for vm in vms if vm.provider is None], everything=not names)
        provided = [vm for vm in vms if vm.provider is not None]
        if not provided:
            ours()
            return
        # Whatever can't be stopped elsewhere, ours are.
        theirs = partial(in_parallel, lambda vm: vm.stop(), provided, what="stop VMs") if names else self.stop_provided
        in_parallel(lambda stop: stop(), [ours, theirs], what="stop VMs")

    def stop_provided(self) -> None:
        """Stop all machines that plugins run, and end the connections to them, even if that fails."""
        provided = [vm for vm in self._vms.values() if vm.provider is not None]
        try:
            in_parallel(lambda vm: vm.stop(), provided, what="stop VMs")
        finally:
            rundir.remove(logins.outside_sockets(self.paths), read_uuid(self.paths.uuid()), outside=True)

    def _stop_ours(self, vms: list[VM], *, everything: bool) -> None:
        if (everything and self.hypervisor.lost() is not None) or not self.live:
            self.hypervisor.end(0)
            watch.end(self)
            return
        if everything and not self.hypervisor.shared:
            self._end()
            return
        in_parallel(lambda vm: vm.stop(), vms, what="stop VMs")
        self._stop_unused()
        if self.hypervisor.shared and not self._running_here():
            watch.end(self)

    def shutdown(
        self, names: Iterable[str] = (), *, reboot: bool = False, on_phase: Phase = no_phase
    ) -> dict[str, str]:
        """Power machines off, or boot them again, by ACPI, guest agent or force, the first that works.

        The nets that nobody uses any more are stopped.

        Args:
            names: names of the machines; without them all that run.
            reboot: boot them again, and wait until they answer ssh.
            on_phase: called with a machine's name and what it does now, such as `shutting down`; without it nobody is
                told.

        Returns:
            What it took, by machine: `ACPI`, `guest agent`, `force` or, if a plugin runs it, `its provider`.

        Raises:
            VMNotFound: there is no machine of that name.
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
        used = {nic.net for vm in self._running_here() for nic in vm.nics()}
        in_parallel(lambda net: net.stop(), [n for n in self._nets.values() if n.name() not in used], what="stop nets")
        self.end_if_idle()

    def discard(self) -> None:
        """Stop all that libvirt runs, for good: remove also what one not ours keeps of machines that are off."""
        ours = [vm for vm in self._vms.values() if vm.provider is None]
        self._stop_ours(ours, everything=True)
        if self.hypervisor.shared:
            in_parallel(lambda vm: vm.discard(), ours, what="discard VMs")

    def end_if_idle(self) -> None:
        """End a hypervisor of ours under which nothing runs."""
        if not self.hypervisor.shared and not self._running_here():
            self._end()

    def _running_here(self) -> list[VM]:
        """Machines that need the nets of the environment: they run, or stand still."""
        states = self.states()
        return [vm for vm in self._vms.values() if states[vm.name()] not in _ENDED and not vm.outside]

    def _end(self) -> None:
        self.close()
        self.hypervisor.end(_GRACE)
        watch.end(self)


def _start(vm: VM, on_phase: Phase) -> None:
    on_phase(vm.name(), "starting")
    vm.start()


def _wait_until_ready(vm: VM, on_phase: Phase) -> None:
    try:
        vm.wait_for_ssh(config.get("ssh_tries"), on_phase)
    except BaseException:
        on_phase(vm.name(), "failed")
        raise
    on_phase(vm.name(), "up")
