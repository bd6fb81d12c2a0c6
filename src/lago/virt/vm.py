"""Virtual machines of an environment."""

from __future__ import annotations

import abc
import contextlib
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

import libvirt

from .. import bootstrap, config, services
from ..errors import ExtractPathNoPathError, SSHError, VMError, VMNotReady, VMNotRunning
from ..guest import ssh, transfer
from ..guest.forward import Forward, Local
from ..host.programs import CommandStatus
from ..log import no_phase, task
from ..plugins import machines
from ..plugins.contracts import Service
from ..topology import state
from ..topology.model import Disk, Domain
from . import console, cpu, screen
from .driver import Driver
from .libvirt_driver import Libvirt
from .machine import Machine
from .network import Network
from .provided import Provided
from .readiness import Phase
from .session import Session
from .tester import Tester

_ANY_PORT = Local()


class Snapshots(Protocol):
    """What takes snapshots of an environment and goes back to them, as `lago.Prefix` does."""

    def create_snapshots(self, name: str, *, vms: Iterable[str] = ()) -> object:
        """Take a snapshot of machines; all, if none is named."""

    def revert_snapshots(self, name: str, *, vms: Iterable[str] = ()) -> None:
        """Go back to a snapshot with machines of it; all, if none is named."""


class Environment(Session, abc.ABC):
    """The environment of a machine, with the others in it; `lago.virt.VirtEnv` is one."""

    snapshots: Snapshots

    @abc.abstractmethod
    def get_vms(self) -> Mapping[str, VM]:
        """All machines by name."""

    @abc.abstractmethod
    def get_vm(self, name: str) -> VM:
        """A machine. Raises VMNotFound."""

    @abc.abstractmethod
    def get_nets(self) -> Mapping[str, Network]:
        """All networks by name."""

    @abc.abstractmethod
    def get_net(self, name: str | None = None) -> Network:
        """A network; without a name the first management net. Raises LagoError."""

    @abc.abstractmethod
    def states(self) -> dict[str, str]:
        """The state of every machine in a word."""

    @abc.abstractmethod
    def connect(self, vm: str, port: int, timeout: float = 10) -> socket.socket:
        """A TCP connection to a machine, tried for `timeout` seconds. Raises OSError, VMNotFound."""


class VM(Machine, Tester):
    """A virtual machine; `driver` runs it."""

    env: Environment

    def __init__(self, env: Environment, spec: Domain) -> None:
        super().__init__(env, spec)
        self.driver: Driver = Libvirt(self)
        self._heard = console.Heard()
        self._agent: Service | None = None

    @property
    def provider(self) -> Provided | None:
        """What runs it, if it is a plugin and not libvirt."""
        return self.driver if isinstance(self.driver, Provided) else None

    @property
    def outside(self) -> bool:
        """Whether it needs no network of the environment: it is reached over this host's, if at all."""
        return self.provider is not None and self.provider.outside

    @property
    def time_factor(self) -> float:
        """How much longer it takes than one that is not emulated."""
        return 1.0 if self.outside else super().time_factor

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The free `metadata` of its init file entry."""
        return self.spec.metadata

    @property
    def all_ips(self) -> list[str]:
        """Its addresses on all nets."""
        return [str(nic.ip) for nic in self.spec.nics if nic.ip]

    def ips_in_net(self, net_name: str) -> list[str]:
        """Its addresses on a net. Raises LagoError if there is no such net."""
        self.env.get_net(net_name)
        return [str(nic.ip) for nic in self.spec.nics if nic.net == net_name and nic.ip]

    def nets(self) -> list[str]:
        """Names of the nets that it is on, in the order of its nics."""
        return list(dict.fromkeys(nic.net for nic in self.spec.nics))

    @property
    def mgmt_net(self) -> str | None:
        """Name of the management net that it is on."""
        return self.spec.mgmt_net

    @property
    def disks(self) -> tuple[Disk, ...]:
        """Its disks."""
        return self.spec.disks

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that its init file entry puts it in."""
        return self.spec.groups

    @property
    def vm_type(self) -> str:
        """The kind of machine that it is, by its init file or `default_vm_type`."""
        return self.spec.vm_type or machines.OWN_TYPE

    @property
    def cpu_model(self) -> str | None:
        """The model of its processor, if its init file names one."""
        return self.spec.cpu_model

    @property
    def cpu_vendor(self) -> str | None:
        """The vendor of that model, as libvirt calls it."""
        return cpu.vendor(self.spec.cpu_model) if self.spec.cpu_model else None

    def artifacts(self) -> tuple[str, ...]:
        """Paths on it that `collect` copies, by its init file."""
        return self.spec.artifacts

    def distro(self) -> str | None:
        """What it runs, by its init file or its template."""
        return self.spec.distro or self.spec.image.get("distro")

    def root_password(self) -> str | None:
        """Password of its root, by its init file or else by the configuration."""
        return self.spec.root_password or str(config.get("default_root_password"))

    def virt_env(self) -> Environment:
        """The environment that it is in."""
        return self.env

    def iscsi_name(self) -> str:
        """Its name as an iSCSI initiator."""
        return self.spec.iscsi_name

    def save(self, path: str | None = None) -> None:
        """Write its description as JSON, to `path` or where the prefix has it."""
        state.save_vm(self.env.paths, self.spec, path)

    def bootstrap(self) -> None:
        """Prepare it for its first start."""
        self.driver.bootstrap()

    def domain(self) -> libvirt.virDomain:
        """What libvirt has of it. Raises VMNotRunning if that is nothing, VMError if libvirt does not run it at all."""
        if self.provider is not None:
            raise self.provider.refusal("is not known to libvirt")
        return super().domain()

    def state(self) -> str:
        """Its state in a word; `down` if nothing is left of it."""
        return self.driver.state()

    def alive(self) -> bool:
        """Whether it runs, or stands still."""
        return self.driver.alive()

    def start(self) -> None:
        """Start it, unless it runs. Its nets must be up."""
        self.driver.start()

    def stop(self) -> None:
        """End it as by pulling the plug, and forget it."""
        self.driver.stop()

    def shutdown(self) -> str:
        """Power it off by ACPI, its guest agent or force, the first that works; which one that was.

        Raises:
            VMNotRunning: it does not run.
        """
        self.must_run()
        return self.driver.shutdown()

    def reboot(self) -> str:
        """Boot it again by ACPI, its guest agent or force, and return when it answers; which way that was.

        Raises:
            VMNotRunning: it does not run.
            VMNotReady: it did not come up again.
        """
        self.must_run()
        how = self.driver.reboot()
        self.wait_for_ssh()
        return how

    def create_snapshot(self, name: str) -> None:
        """Take a snapshot of it alone; see `lago.Prefix.create_snapshots`."""
        self.env.snapshots.create_snapshots(name, vms=[self.name()])

    def revert_snapshot(self, name: str) -> None:
        """Go back to a snapshot with it alone; see `lago.Prefix.revert_snapshots`."""
        self.env.snapshots.revert_snapshots(name, vms=[self.name()])

    def discard(self) -> None:
        """Remove what is kept of a machine that was stopped for good, such as the contents of its TPM."""
        self.driver.discard()

    @cached_property
    def guest(self) -> ssh.Guest:
        """How to log in to it."""
        return self.driver.guest()

    def wait_for_ssh(
        self,
        connect_retries: int | None = 50,
        on_phase: Phase = no_phase,
        command: str | Callable[[], str] = "true",
        *,
        listens: bool = False,
    ) -> None:
        """Return when it runs commands over ssh; `command` is the first one.

        Args:
            command: or what makes it when it is sent, for one that tells the time.
            connect_retries: how many logins may fail; None: any number.
            listens: it runs since long, it was only brought back.

        Raises:
            VMNotReady: it did not within `boot_time_sec` or config `boot_timeout`; says how far it came.
        """
        seconds = self.spec.boot_time_sec or config.get("boot_timeout")
        first = command if callable(command) else lambda: command
        self.driver.wait_for_ssh(seconds, on_phase, first, connect_retries, listens=listens)
        if self.provider is None and (rest := bootstrap.after_boot(self.spec)) is not None:
            words, data = rest
            if status := self.guest.run(words, data=data):
                raise VMError(f"{self.name()}: {words[0]} failed", details=status.error_text)

    def ssh(
        self,
        command: str | Sequence[str],
        data: bytes | None = None,
        show_output: bool = True,
        propagate_fail: bool = True,
        tries: int | None = None,
        timeout: float | None = None,
    ) -> CommandStatus:
        """Run a command and return how it ended; a list is quoted, a string is for the guest's shell.

        Args:
            data: what it reads; without it its input is closed.
            show_output: write its output to ours, and its error output to ours, as it comes.
            propagate_fail: raise if it can't be reached; otherwise that is status 255 with the reason as error output.
            tries: how many logins are tried, if there is no connection yet; None: config `ssh_tries`.
            timeout: seconds that the command may take.

        Raises:
            VMNotRunning, VMNotReady: it does not run or answer.
            SSHError: the connection was lost.
            VMError: the command did not end in time. Whether it goes on there is up to the guest.
        """
        try:
            self.connect(tries)
            return self.guest.run(command, data=data, show=show_output, timeout=timeout)
        except (VMNotRunning, VMNotReady, SSHError) as error:
            if propagate_fail:
                raise
            return CommandStatus(255, b"", error.render().encode())

    def ssh_script(self, path: str, show_output: bool = True) -> CommandStatus:
        """Run a bash script of this host; see `ssh`."""
        with open(path, "rb") as file:
            return self.ssh(["bash", "-s"], data=file.read(), show_output=show_output)

    def interactive_ssh(self, command: str | Sequence[str] = ("bash",)) -> CommandStatus:
        """Run a command with our standard streams, in a terminal of its own if ours is one; its output is not kept."""
        self.connect()
        return CommandStatus(self.guest.interact(command), b"", b"")

    def ssh_reachable(self, tries: int | None = None) -> bool:
        """Whether it runs commands over ssh, or does within `tries` logins."""
        return not self.ssh(["true"], show_output=False, propagate_fail=False, tries=tries)

    def copy_to(self, local_path: str | Sequence[str], remote_path: str) -> None:
        """Copy files and trees to it; see `lago.guest.transfer.copy_to`."""
        self.connect()
        with task(f"Copy to {self.name()}:{remote_path}"):
            transfer.copy_to(self.guest, local_path, remote_path)

    def copy_from(self, remote_path: str, local_path: str) -> None:
        """Copy a file or a tree from it; see `lago.guest.transfer.copy_from`."""
        self.connect()
        with task(f"Copy from {self.name()}:{remote_path}"):
            transfer.copy_from(self.guest, remote_path, local_path)

    def extract_paths(self, paths: Iterable[tuple[str, str]], ignore_nopath: bool = False) -> None:
        """Copy files and trees of it to this host, over ssh or, if it is down or does not answer, out of its disks.

        Args:
            paths: on the machine, and where each goes; the directory there must exist.
            ignore_nopath: leave out what is not there on the machine.

        Raises:
            ExtractPathError: they can't be had.
            ExtractPathNoPathError: some are not there; all others were copied.
        """
        if (missing := self.extract(paths)) and not ignore_nopath:
            raise ExtractPathNoPathError(f"{self.name()}: {', '.join(missing)}: there is no such path on the guest")

    def extract(self, paths: Iterable[tuple[str, str]]) -> list[str]:
        """As `extract_paths`, but return the paths that are not there on the machine."""
        return self.driver.extract(paths)

    def connect(self, tries: int | None = None) -> None:
        """Make sure that commands can be run. Raises VMNotRunning, VMNotReady."""
        if not self.guest.connected():
            self.must_run()
            self.wait_for_ssh(tries or config.get("ssh_tries"))

    def wait_for_console_text(self, regex: str, timeout: float = 900) -> re.Match[str]:
        """Return when it has said on its console what matches; see `lago.virt.console.wait_for_text`."""
        return console.wait_for_text(self, self._heard, regex, timeout)

    def interactive_console(self, stdin: int = 0, stdout: int = 1, *, force: bool = False) -> bool:
        """Connect a terminal with its console; see `lago.virt.console.interact`."""
        return self.driver.interactive_console(stdin, stdout, force=force)

    def vnc_port(self) -> str:
        """The loopback port of its hypervisor where VNC shows its screen; see `lago.virt.screen.vnc_port`."""
        return screen.vnc_port(self)

    def screenshot(self, path: str) -> None:
        """Write what its screen shows to a PNG file; see `lago.virt.screen.screenshot`."""
        screen.screenshot(self, path)

    def send_keys(self, keys: str) -> None:
        """Press keys, such as `ctrl-alt-delete`, or type a text; see `lago.virt.screen.send_keys`."""
        screen.send_keys(self, keys)

    @contextlib.contextmanager
    def forward(self, port: int, local: Local = _ANY_PORT) -> Iterator[tuple[str, int]]:
        """One of its TCP ports on the loopback address of this host; host and port there. See `lago.guest.forward`."""
        with Forward(lambda: self.env.connect(self.name(), port), local, f"{self.name()} port {port}") as forward:
            yield forward.address

    def service(self, name: str) -> Service:
        """A service of it, by whatever manages them there, which is found out once and stored; see `lago.services`."""
        if self.spec.service_provider is None:
            self.spec = replace(self.spec, service_provider=services.detect(self))
            state.save_service_provider(self.env.paths, self.spec)
        return services.provider(str(self.spec.service_provider))(self, name)

    def guest_agent(self) -> Service:
        """The service of it that is QEMU's guest agent. Raises VMError if it has none."""
        if self._agent is None:
            self._agent = services.agent(self)
        return self._agent
