"""Memory and disks of a machine that runs: saved while it stands still, and brought back."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import threading
import time
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import libvirt

from ..errors import HypervisorError, LagoError, VMError
from ..host.full import says_full
from ..host.parallel import in_parallel
from ..log import LOG
from . import memory as ram
from . import migration
from .connection import refusals

if TYPE_CHECKING:
    from .vm import VM


_QEMU: Final = "{http://libvirt.org/schemas/domain/qemu/1.0}"
_ARGUMENTS: Final = f"{_QEMU}commandline"
_CLOCK_PATIENCE: Final = 30.0


def check(vm: VM, *, memory: bool) -> None:
    """Raise VMError if the state of a machine can't be saved.

    Args:
        memory: whether its memory is to be saved too, with which go the contents of a TPM.
    """
    if vm.spec.tpm and not memory:
        raise VMError(
            f"{vm.name()} has a TPM, whose contents can only be saved while it runs, with its memory",
            hint=f"lago start {vm.name()}, and take the snapshot without --disk-only",
        )
    if memory and vm.spec.shares:
        raise VMError(
            f"{vm.name()} shares directories with the host, whose state can't be saved",
            hint="stop it, take the snapshot with --disk-only, or remove its shares",
        )


def live_tops(vm: VM) -> dict[str, str]:
    """The image that each disk of a machine that runs is written to, by device."""
    with refusals(f"the disks of {vm.name()} can't be asked for"):
        root = ET.fromstring(vm.domain().XMLDesc())  # noqa: S314 - libvirt's own
    found = {}
    for disk in root.iterfind("devices/disk"):
        source, target = disk.find("source"), disk.find("target")
        if source is not None and target is not None:
            found[target.get("dev", "")] = source.get("file", "")
    return found


def pause(vm: VM) -> bool:
    """Let a machine stand still; whether it ran before."""
    with refusals(f"{vm.name()} can't be paused"):
        domain = vm.domain()
        if domain.state()[0] != libvirt.VIR_DOMAIN_RUNNING:
            return False
        domain.suspend()
        return True


def resume(vm: VM) -> None:
    """Let it go on."""
    with refusals(f"{vm.name()} can't go on", f"lago stop {vm.name()}; lago start {vm.name()}"):
        vm.domain().resume()


def splits(vm: VM) -> bool:
    """Whether memory and what devices hold are saved apart for a machine that runs, which is quicker."""
    return ram.in_files(vm) and bool(ram.files(vm))


def save_apart(vm: VM, memory: str, state: str) -> None:
    """Write the memory of a machine that stands still to a file; its disks stay as they are.

    Args:
        memory: the file.
        state: another, for its description and what its devices hold.
    """
    with _saving(vm), open(state, "wb") as file:
        text = vm.domain().XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE).encode()
        file.write(b"%d\n" % len(text) + text)
        file.flush()
        migration.write(vm.domain(), file.fileno())
        ram.save(ram.files(vm), memory)


def save_ahead(vms: Sequence[VM], memory: Mapping[str, str], directory: str) -> None:
    """Write the memory of machines that still run, so that `save_apart` has no file to extend while they stand still.

    Where a disk might become full it does nothing: that would stop whatever guests write meanwhile.

    Args:
        memory: the file of each machine, by name.
        directory: where these files are.
    """
    needed = sum(os.stat(file).st_blocks * 512 for vm in vms for file in ram.files(vm))
    if shutil.disk_usage(directory).free > 2 * needed:
        in_parallel(lambda vm: _save_memory(vm, memory[vm.name()]), vms, what="save memory")


def _save_memory(vm: VM, memory: str) -> None:
    with _saving(vm):
        ram.save(ram.files(vm), memory)


@contextlib.contextmanager
def _saving(vm: VM) -> Iterator[None]:
    try:
        yield
    except (libvirt.libvirtError, HypervisorError, OSError) as error:
        raise HypervisorError(
            f"{vm.name()} can't be saved: {error}",
            hint="the disk is full: lago snapshot delete an old one, or see df"
            if says_full(error)
            else "lago snapshot --disk-only saves the disks alone",
        ) from error


def save(vm: VM, tops: Mapping[str, str], memory: str | None) -> None:
    """Let a machine write to other images from now on, and have libvirt write its memory to a file.

    Args:
        tops: images that exist and lie over those of now, by device.
        memory: the file; it does not exist. Without it only the disks are saved.
    """
    root = ET.Element("domainsnapshot")
    name = ET.SubElement(root, "name")
    name.text = "lago"
    if memory:
        ET.SubElement(root, "memory", snapshot="external", file=memory)
    disks = ET.SubElement(root, "disks")
    for dev in live_tops(vm):
        if dev in tops:
            disk = ET.SubElement(disks, "disk", name=dev, snapshot="external", type="file")
            ET.SubElement(disk, "driver", type="qcow2")
            ET.SubElement(disk, "source", file=tops[dev])
        else:
            ET.SubElement(disks, "disk", name=dev, snapshot="no")
    flags = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
    if not memory:
        flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
    with _saving(vm):
        vm.domain().snapshotCreateXML(ET.tostring(root, encoding="unicode"), flags)


def restore(vm: VM, memory: str, tops: Mapping[str, str]) -> None:
    """Bring a machine that is down back to the instant of a snapshot; it stands still.

    Args:
        memory: the file with its memory.
        tops: the images that it shall write to, by device; they lie over those of the snapshot.
    """
    connection = vm.env.libvirt_con
    with refusals(f"{vm.name()} can't be brought back"):
        text = connection.saveImageGetXMLDesc(memory, libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE)
        root = ET.fromstring(text)  # noqa: S314 - libvirt's own
        _relocate(vm, root, tops)
        with vm.env.ends.starting(vm.libvirt_name()):
            connection.restoreFlags(memory, ET.tostring(root, encoding="unicode"), libvirt.VIR_DOMAIN_SAVE_PAUSED)


def restore_apart(vm: VM, memory: str, state: str, tops: Mapping[str, str]) -> None:
    """Bring a machine back that `save_apart` saved; it stands still. Arguments as there and for `restore`."""
    with refusals(f"{vm.name()} can't be brought back"), open(state, "rb", buffering=0) as file:
        root = ET.fromstring(file.read(int(file.readline())))  # noqa: S314 - libvirt's own
        _relocate(vm, root, tops)
        for element in root.findall("genid"):
            # Libvirt has a new one by itself only where it restores by itself.
            element.text = str(uuid.uuid4())
        for element in root.findall(_ARGUMENTS):
            root.remove(element)
        arguments = ET.SubElement(root, _ARGUMENTS)
        for word in ("-incoming", "defer"):
            ET.SubElement(arguments, f"{_QEMU}arg", value=word)
        text = ET.tostring(root, encoding="unicode")
        with vm.env.ends.starting(vm.libvirt_name()):
            domain = vm.env.libvirt_con.createXML(text, libvirt.VIR_DOMAIN_START_PAUSED)
        try:
            ram.load(memory, ram.files(vm))
            migration.read(domain, file.fileno())
        except BaseException:
            vm.stop()
            raise


def _relocate(vm: VM, root: ET.Element, tops: Mapping[str, str]) -> None:
    """Let a saved description name the files of now: the prefix may have been moved, or be another."""
    paths = vm.env.paths
    for disk in root.iterfind("devices/disk"):
        source, target = disk.find("source"), disk.find("target")
        if source is None or target is None:
            continue
        dev = target.get("dev", "")
        if dev in tops:
            source.set("file", tops[dev])
            for chain in disk.findall("backingStore"):
                disk.remove(chain)
            driver = disk.find("driver")
            if driver is not None:
                driver.set("type", "qcow2")
        elif os.path.basename(os.path.dirname(source.get("file", ""))) == os.path.basename(paths.images()):
            source.set("file", paths.images(os.path.basename(source.get("file", ""))))
    for log in root.iter("log"):
        log.set("file", vm.console_log())


def pull(vm: VM, dev: str, base: str) -> None:
    """Copy into the image that a disk of a running machine is written to what lies between it and another.

    Args:
        dev: the disk.
        base: the image that it lies over from then on.
    """
    done = threading.Event()
    connection = vm.env.libvirt_con
    watch = connection.domainEventRegisterAny(
        vm.domain(), libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, lambda *_: done.set(), None
    )
    try:
        with refusals(f"the layers of {vm.name()} can't be merged"):
            vm.domain().blockRebase(dev, base, 0, libvirt.VIR_DOMAIN_BLOCK_REBASE_RELATIVE)
            # The event may have come before we listened, or be that of a machine that ended.
            while vm.alive() and vm.domain().blockJobInfo(dev):
                done.wait(0.2)
    finally:
        connection.domainEventDeregisterAny(watch)


# GNU's date is asked for by its path, since busybox's shell takes its own; that one knows whole seconds only.
_SET_CLOCK: Final = """\
exec >/dev/null 2>&1
date=/bin/date
test -x $date || date=date
becomes() { $date -u -s "@$1" || sudo -n $date -u -s "@$1"; }
becomes "$1" || $date -u -d @0.5 || { sleep "$2"; becomes "$3"; }
exit 0
"""


def clock_command() -> str:
    """Tell a guest what time it is now, as far as it lets us: a command for its shell, to be sent at once.

    Its clock is then behind by as long as the command was on its way. Where it can be set to whole seconds only, that
    waits for the next one.
    """
    now = time.time()
    following = int(now) + 1
    return shlex.join(["sh", "-c", _SET_CLOCK, "sh", f"{now:.3f}", f"{following - now:.3f}", str(following)])


def set_clock(vm: VM) -> None:
    """Tell a guest what time it is, if there is a connection to it; it stood still, and its clock with it."""
    if not vm.guest.connected() or not vm.running():
        return
    try:
        vm.guest.run(clock_command(), timeout=_CLOCK_PATIENCE)
    except (LagoError, OSError) as error:
        LOG.debug("the clock of %s: %s", vm.name(), error)


def quiesce(vm: VM) -> str:
    """Let a guest write out what it has in memory, and hold still if it can; how: `agent`, `fsfreeze` or `sync`."""
    try:
        vm.domain().fsFreeze()
        return "agent"
    except libvirt.libvirtError as error:
        LOG.debug("%s: %s", vm.name(), error)
    vm.connect()
    if not vm.guest.run("sync && fsfreeze --help >/dev/null 2>&1 && fsfreeze -f / && echo frozen"):
        return "fsfreeze"
    if vm.guest.run("sync"):
        raise VMError(f"{vm.name()} can't be told to write out what it has in memory")
    LOG.warning("%s has neither guest agent nor fsfreeze; what it writes meanwhile may be lost", vm.name())
    return "sync"


def unquiesce(vm: VM, how: str) -> None:
    """Let a guest that `quiesce` halted write again."""
    if how == "agent":
        with refusals(f"{vm.name()}: its file systems are still frozen"):
            vm.domain().fsThaw()
    elif how == "fsfreeze" and vm.guest.run("fsfreeze -u /"):
        raise VMError(f"{vm.name()}: its file system is still frozen", hint=f"lago stop {vm.name()}")
