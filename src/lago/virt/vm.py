"""Virtual machines of an environment."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import libvirt

from .. import bootstrap, config, ssh, state
from ..errors import VMError, VMNotRunning
from ..topology import Domain, Nic, libvirt_domain_name
from ..utils import CommandStatus
from . import cpu, needs, readiness, xml
from .refusals import create, look_up, refusals

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


class VM:
    """A virtual machine; `spec` is its resolved value, `provider` what a plugin runs it by, if libvirt does not."""

    def __init__(self, env: VirtEnv, spec: Domain) -> None:
        self.env = env
        self.spec = spec
        self.provider: Any = None

    def name(self) -> str:
        """Its name in the init file, and its host name."""
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
        return f"iqn.2014-07.org.lago:{self.name()}"

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

    def start(self) -> None:
        """Start it, unless it runs. Its nets must be up."""
        with refusals(f"{self.name()} does not start", self._logs()):
            found = self._find()
            if found is not None and found.isActive():
                return
            needs.check(self.spec, self.env.hypervisor)
            with contextlib.suppress(FileNotFoundError):
                os.rename(self.console_log(), f"{self.console_log()}.old")
            self.env.ends.forget(self.libvirt_name())
            create(self.env.libvirt_con.defineXML(self._xml()))

    def _logs(self) -> str:
        if (qemu := self.qemu_log()) is None:
            return ""
        tpm = f"; that of its TPM: {self.env.paths.tpm_log(self.libvirt_name())}" if self.spec.tpm else ""
        return f"QEMU's own log: {qemu}{tpm}"

    def _xml(self) -> str:
        paths = self.env.paths
        additions = bootstrap.additions(self.spec, paths, self._public_key())
        files = xml.DomainFiles(
            disks=tuple(os.path.join(paths.prefix(), disk.path) for disk in self.spec.disks),
            seeds=tuple(disk.path for disk in additions.disks),
            console_log=self.console_log(),
            oem_strings=additions.oem_strings,
            nvram=paths.nvram(self.name()),
        )
        nets = self.env.get_nets()
        kvm = self.env.accel.kind == "kvm"
        here = kvm and self.env.hypervisor.local
        return xml.domain_xml(
            self.spec,
            name=self.libvirt_name(),
            uuid=xml.object_uuid(self.env.uuid, self.libvirt_name()),
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
        with refusals(f"{self.name()} does not stop"):
            defined = found.isPersistent()
            if found.isActive():
                try:
                    found.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_GRACEFUL)
                except libvirt.libvirtError:
                    found.destroy()
            if defined:
                # Libvirt refuses flags it has no use for.
                nvram = libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM if self.spec.firmware == "uefi" else 0
                tpm = libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM if self.spec.tpm else 0
                found.undefineFlags(nvram | tpm)

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
            uuid = xml.object_uuid(self.env.uuid, self.libvirt_name())
            known = self.env.libvirt_con.defineXML(xml.tpm_owner_xml(name=self.libvirt_name(), uuid=uuid))
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

    def wait_for_ssh(self, on_phase: readiness.Phase = lambda _name, _phase: None, command: str = "true") -> None:
        """Return when it runs commands over ssh; `command` is the first one.

        Raises:
            VMNotReady: it did not within `boot_time_sec` or config `boot_timeout`; says how far it came.
        """
        seconds = self.spec.boot_time_sec or config.get("boot_timeout")
        readiness.wait_for_ssh(self, seconds * self.env.accel.time_factor, on_phase, command)
        if (rest := bootstrap.after_boot(self.spec)) is not None:
            words, data = rest
            if status := self.guest.run(words, data=data):
                raise VMError(f"{self.name()}: {words[0]} failed", details=status.err.decode(errors="replace"))

    def ssh(self, command: str | Sequence[str], data: bytes | None = None) -> CommandStatus:
        """Run a command and return how it ended; a list is quoted, a string is for the guest's shell.

        Raises:
            VMNotRunning: it does not run.
            SSHError: the connection was lost.
        """
        self.connect()
        return self.guest.run(command, data=data)

    def connect(self) -> None:
        """Make sure that commands can be run. Raises VMNotRunning, VMNotReady."""
        if self.guest.connected():
            return
        if not self.alive():
            raise VMNotRunning(f"{self.name()} is not running, it is {self.state()}", hint=f"lago start {self.name()}")
        self.wait_for_ssh()
