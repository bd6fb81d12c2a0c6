"""Machines that libvirt runs."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from functools import partial

import libvirt

from .. import bootstrap
from ..bootstrap import logins
from ..guest.ssh import Guest
from ..topology.names import libvirt_net_name
from . import console, cpu, domain_xml, memory, power, preflight, readiness
from .connection import create, refusals, unless_gone
from .machine import Machine
from .session import STATES


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode
    except OSError:
        # On another host, or gone: libvirt tells.
        return 0


class Libvirt:
    """Run a machine by the libvirt of its environment."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def bootstrap(self) -> None:
        bootstrap.prepare(self._machine.spec, self._machine.env.paths, self._public_key())

    def _public_key(self) -> str:
        with open(self._machine.env.paths.ssh_id_rsa_pub(), encoding="utf-8") as file:
            return file.read().strip()

    def start(self) -> None:
        machine = self._machine
        with refusals(f"{machine.name()} does not start", self._logs()):
            if machine.active():
                if machine.libvirt_state() == readiness.HALTED_BY_IO:
                    # If there is no room yet, it is halted again at once.
                    machine.env.lifecycle.ended(machine.libvirt_name()).clear()
                    machine.domain().resume()
                return
            preflight.check(machine.spec, machine.env.hypervisor)
            machine.begin_console()
            defined = machine.env.libvirt_con.defineXML(self._xml())
            with machine.env.lifecycle.starting(machine.libvirt_name()):
                create(defined)

    def _logs(self) -> str:
        machine = self._machine
        if (qemu := machine.qemu_log()) is None:
            return ""
        tpm = f"; that of its TPM: {machine.env.paths.tpm_log(machine.libvirt_name())}" if machine.spec.tpm else ""
        return f"QEMU's own log: {qemu}{tpm}"

    def _xml(self) -> str:
        machine, env = self._machine, self._machine.env
        spec, paths = machine.spec, env.paths
        additions = bootstrap.additions(spec, paths, self._public_key())
        disks = tuple(os.path.join(paths.prefix(), disk.path) for disk in spec.disks)
        files = domain_xml.DomainFiles(
            disks=disks,
            # QEMU refuses to take one for a file.
            devices=frozenset(path for path in disks if stat.S_ISBLK(_mode(path))),
            seeds=tuple(disk.path for disk in additions.disks),
            console_log=machine.console_log(),
            oem_strings=additions.oem_strings,
            nvram=paths.nvram(machine.name()),
            memory_files=memory.in_files(machine),
        )
        kvm = env.accel.kind == "kvm"
        here = kvm and env.hypervisor.local
        return domain_xml.domain_xml(
            spec,
            name=machine.libvirt_name(),
            uuid=domain_xml.object_uuid(env.uuid, machine.libvirt_name()),
            files=files,
            kvm=kvm,
            nets={name: libvirt_net_name(env.uuid, name) for name in env.nets},
            specs=env.nets,
            nested=cpu.nested_flag(spec.cpu_model) if here and spec.cpu_model else None,
        )

    def stop(self) -> None:
        machine = self._machine
        machine.guest.close()
        found = machine.found()
        if found is None:
            return
        with refusals(f"{machine.name()} does not stop"), unless_gone():
            defined = found.isPersistent()
            if found.isActive():
                try:
                    found.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_GRACEFUL)
                except libvirt.libvirtError:
                    # It may have ended by itself meanwhile.
                    if machine.alive():
                        found.destroy()
            if defined:
                # Libvirt refuses flags it has no use for.
                nvram = libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM if machine.spec.firmware == "uefi" else 0
                tpm = libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM if machine.spec.tpm else 0
                found.undefineFlags(nvram | tpm)

    def discard(self) -> None:
        """Remove what libvirt keeps of a machine that was stopped for good: the contents of its TPM."""
        machine = self._machine
        if not machine.spec.tpm:
            return
        with refusals(f"the TPM of {machine.name()} can't be removed"):
            # Libvirt removes it with the machine, of which it must know.
            name = machine.libvirt_name()
            uuid = domain_xml.object_uuid(machine.env.uuid, name)
            known = machine.env.libvirt_con.defineXML(domain_xml.tpm_owner_xml(name=name, uuid=uuid))
            known.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_TPM)

    def shutdown(self) -> str:
        return power.off(self._machine)

    def reboot(self) -> str:
        return power.again(self._machine)

    def state(self) -> str:
        state, _ = self._machine.libvirt_state()
        return "down" if state is None else STATES.get(state, "unknown")

    def alive(self) -> bool:
        return self._machine.active()

    def guest(self) -> Guest:
        machine, env = self._machine, self._machine.env
        return logins.guest_of(machine.spec, list(env.domains).index(machine.name()), env.paths, env.hypervisor)

    def wait_for_ssh(
        self,
        seconds: float,
        on_phase: readiness.Phase,
        command: Callable[[], bool],
        tries: int | None,
        *,
        listens: bool,
    ) -> None:
        timeout = seconds * self._machine.time_factor
        readiness.wait_for_ssh(self._machine, timeout, on_phase, command, tries, listens=listens)

    def extract(self, paths: Iterable[tuple[str, str]]) -> list[str]:
        # Only here: it takes what reads disks with it.
        from . import extraction

        otherwise = partial(extraction.from_disks, self._machine)
        return extraction.extract(self._machine, paths, otherwise, "its files are taken out of its disks")

    def interactive_console(self, stdin: int, stdout: int, *, force: bool) -> bool:
        return console.interact(self._machine, stdin, stdout, force=force)
