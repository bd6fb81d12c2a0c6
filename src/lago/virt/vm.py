"""Virtual machines of an environment."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import libvirt

from .. import bootstrap, config, services
from ..errors import ExtractPathNoPathError, SSHError, VMError, VMNotReady, VMNotRunning
from ..guest import ssh, transfer
from ..guest.forward import Forward, Local
from ..host.programs import CommandStatus
from ..log import no_phase, task
from ..plugins import machines
from ..topology import state
from ..topology.model import Disk, Domain, Nic
from ..topology.names import libvirt_domain_name
from . import console, cpu, domain_xml, memory, power, preflight, readiness, screen
from .connection import create, look_up, refusals, unless_gone
from .tester import Tester

if TYPE_CHECKING:
    from .env import VirtEnv

STATES: dict[int, str] = {
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


_ANY_PORT = Local()


class VM(Tester):
    """A virtual machine; `spec` is its resolved value, `provider` what a plugin runs it by, if libvirt does not."""

    def __init__(self, env: VirtEnv, spec: Domain) -> None:
        self.env = env
        self.spec = spec
        self.provider: Any = None
        self.heard = console.Heard()
        self._agent: Any = None

    def name(self) -> str:
        """Its name in the init file."""
        return self.spec.name

    def ip(self) -> str:
        """Its address on the management net. Raises VMError if it is on none."""
        if self.spec.ip is None:
            raise VMError(f"{self.name()} has no address on a management net", hint="give it a nic on one")
        return self.spec.ip

    def nics(self) -> tuple[Nic, ...]:
        """Its network interfaces."""
        return self.spec.nics

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
        """Password of its root, by its init file or its template."""
        return self.spec.root_password or self.spec.image.get("root-password")

    def virt_env(self) -> VirtEnv:
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
        bootstrap.prepare(self.spec, self.env.paths, self._public_key())

    def _public_key(self) -> str:
        with open(self.env.paths.ssh_id_rsa_pub(), encoding="utf-8") as file:
            return file.read().strip()

    def libvirt_name(self) -> str:
        """What libvirt calls it."""
        return libvirt_domain_name(self.env.uuid, self.name())

    def _find(self) -> libvirt.virDomain | None:
        if not self.env.live:
            return None
        return look_up(self.env.libvirt_con.lookupByName, self.libvirt_name(), libvirt.VIR_ERR_NO_DOMAIN)

    def domain(self) -> libvirt.virDomain:
        """What libvirt has of it. Raises VMNotRunning if that is nothing."""
        found = self._find()
        if found is None:
            raise VMNotRunning(f"{self.name()} is not running, it is down", hint=f"lago start {self.name()}")
        return found

    def running_domain(self) -> libvirt.virDomain:
        """What libvirt has of it while it runs. Raises VMNotRunning."""
        self._must_run()
        return self.domain()

    def libvirt_state(self) -> tuple[int | None, int]:
        """libvirt's state and reason numbers; no state if libvirt does not know it."""
        found = self._find()
        if found is None:
            return None, 0
        state, reason = found.state()
        return state, reason

    def state(self) -> str:
        """Its state in a word; `down` if libvirt does not know it."""
        state, _ = self.libvirt_state()
        return "down" if state is None else STATES.get(state, "unknown")

    def alive(self) -> bool:
        """Whether its QEMU runs."""
        found = self._find()
        return found is not None and bool(found.isActive())

    def running(self) -> bool:
        """Whether it runs, that is, is not paused either."""
        return self.state() == "running"

    def start(self) -> None:
        """Start it, unless it runs. Its nets must be up."""
        with refusals(f"{self.name()} does not start", self._logs()):
            found = self._find()
            if found is not None and found.isActive():
                return
            preflight.check(self.spec, self.env.hypervisor)
            with contextlib.suppress(FileNotFoundError):
                os.rename(self.console_log(), f"{self.console_log()}.old")
            defined = self.env.libvirt_con.defineXML(self._xml())
            with self.env.ends.starting(self.libvirt_name()):
                create(defined)

    def _logs(self) -> str:
        if (qemu := self.qemu_log()) is None:
            return ""
        tpm = f"; that of its TPM: {self.env.paths.tpm_log(self.libvirt_name())}" if self.spec.tpm else ""
        return f"QEMU's own log: {qemu}{tpm}"

    def _xml(self) -> str:
        paths = self.env.paths
        additions = bootstrap.additions(self.spec, paths, self._public_key())
        files = domain_xml.DomainFiles(
            disks=tuple(os.path.join(paths.prefix(), disk.path) for disk in self.spec.disks),
            seeds=tuple(disk.path for disk in additions.disks),
            console_log=self.console_log(),
            oem_strings=additions.oem_strings,
            nvram=paths.nvram(self.name()),
            memory_files=memory.in_files(self),
        )
        nets = self.env.get_nets()
        kvm = self.env.accel.kind == "kvm"
        here = kvm and self.env.hypervisor.local
        return domain_xml.domain_xml(
            self.spec,
            name=self.libvirt_name(),
            uuid=domain_xml.object_uuid(self.env.uuid, self.libvirt_name()),
            files=files,
            kvm=kvm,
            nets={name: net.libvirt_name() for name, net in nets.items()},
            specs={name: net.spec for name, net in nets.items()},
            nested=cpu.nested_flag(self.spec.cpu_model) if here and self.spec.cpu_model else None,
        )

    def stop(self) -> None:
        """End it as by pulling the plug, and forget it."""
        self.guest.close()
        found = self._find()
        if found is None:
            return
        with refusals(f"{self.name()} does not stop"), unless_gone():
            defined = found.isPersistent()
            if found.isActive():
                try:
                    found.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_GRACEFUL)
                except libvirt.libvirtError:
                    # It may have ended by itself meanwhile.
                    if self.alive():
                        found.destroy()
            if defined:
                # Libvirt refuses flags it has no use for.
                nvram = libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM if self.spec.firmware == "uefi" else 0
                tpm = libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM if self.spec.tpm else 0
                found.undefineFlags(nvram | tpm)

    def shutdown(self) -> str:
        """Power it off by ACPI, its guest agent or force, the first that works; which one that was.

        Raises:
            VMNotRunning: it does not run.
        """
        self._must_run()
        return power.off(self)

    def reboot(self) -> str:
        """Boot it again by ACPI, its guest agent or force, and return when it answers; which way that was.

        Raises:
            VMNotRunning: it does not run.
            VMNotReady: it did not come up again.
        """
        self._must_run()
        how = power.again(self)
        self.wait_for_ssh()
        return how

    def create_snapshot(self, name: str) -> None:
        """Take a snapshot of it alone; see `lago.Prefix.create_snapshots`."""
        self.env.home.create_snapshots(name, vms=[self.name()])

    def revert_snapshot(self, name: str) -> None:
        """Go back to a snapshot with it alone; see `lago.Prefix.revert_snapshots`."""
        self.env.home.revert_snapshots(name, vms=[self.name()])

    def discard(self) -> None:
        """Remove what libvirt keeps of a machine that was stopped for good: the contents of its TPM."""
        if not self.spec.tpm:
            return
        with refusals(f"the TPM of {self.name()} can't be removed"):
            # Libvirt removes it with the machine, of which it must know.
            uuid = domain_xml.object_uuid(self.env.uuid, self.libvirt_name())
            known = self.env.libvirt_con.defineXML(domain_xml.tpm_owner_xml(name=self.libvirt_name(), uuid=uuid))
            known.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_TPM)

    def console_log(self) -> str:
        """File with what it wrote on its serial console since we started it; `.old` is that of the time before."""
        return self.env.paths.console_log(self.name())

    def console_text(self) -> str:
        """What it wrote on its console since we started it."""
        try:
            with open(self.console_log(), encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def qemu_log(self) -> str | None:
        """QEMU's own log, where it is ours to read."""
        return None if self.env.hypervisor.shared else self.env.paths.logs("qemu", f"{self.libvirt_name()}.log")

    def has_lease(self) -> bool:
        """Whether it asked for its management address and got it."""
        return self.ip() in self.env.get_net(self.spec.mgmt_net).leases()

    @cached_property
    def guest(self) -> ssh.Guest:
        """How to log in to it."""
        return self.env.guest(self.name())

    def wait_for_ssh(
        self,
        connect_retries: int | None = 50,
        on_phase: readiness.Phase = no_phase,
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
        timeout = seconds * self.env.accel.time_factor
        first = command if callable(command) else lambda: command
        readiness.wait_for_ssh(self, timeout, on_phase, first, connect_retries, listens=listens)
        if (rest := bootstrap.after_boot(self.spec)) is not None:
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
        from . import extraction

        return extraction.extract(self, paths)

    def connect(self, tries: int | None = None) -> None:
        """Make sure that commands can be run. Raises VMNotRunning, VMNotReady."""
        if not self.guest.connected():
            self._must_run()
            self.wait_for_ssh(tries or config.get("ssh_tries"))

    def _must_run(self) -> None:
        if not self.alive():
            raise VMNotRunning(f"{self.name()} is not running, it is {self.state()}", hint=f"lago start {self.name()}")

    def wait_for_console_text(self, regex: str, timeout: float = 900) -> re.Match[str]:
        """Return when it has said on its console what matches; see `lago.virt.console.wait_for_text`."""
        return console.wait_for_text(self, regex, timeout)

    def interactive_console(self, stdin: int = 0, stdout: int = 1, *, force: bool = False) -> bool:
        """Connect a terminal with its console; see `lago.virt.console.interact`."""
        return console.interact(self, stdin, stdout, force=force)

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

    def service(self, name: str) -> Any:
        """A service of it, by whatever manages them there, which is found out once and stored; see `lago.services`."""
        if self.spec.service_provider is None:
            self.spec = replace(self.spec, service_provider=services.detect(self))
            state.save_service_provider(self.env.paths, self.spec)
        return services.provider(str(self.spec.service_provider))(self, name)

    def guest_agent(self) -> Any:
        """The service of it that is QEMU's guest agent. Raises VMError if it has none."""
        if self._agent is None:
            self._agent = services.agent(self)
        return self._agent
