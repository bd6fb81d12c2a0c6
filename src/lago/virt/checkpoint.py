"""Memory and disks of a machine that runs: saved while it stands still, and brought back."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence

import libvirt

from ..errors import HypervisorError, VMError
from ..host.beneath import not_a_link
from ..host.files import in_memory
from ..host.full import says_full
from ..host.parallel import in_parallel
from ..log import LOG
from . import alike, delta, disk_fault, mapped, migration, state_file
from . import memory as ram
from .connection import refusals
from .machine import Machine


def check(machine: Machine, *, memory: bool) -> None:
    """Raise VMError if the state of a machine can't be saved.

    Args:
        memory: whether its memory is to be saved too, with which go the contents of a TPM.
    """
    if machine.spec.tpm and not memory:
        raise VMError(
            f"{machine.name()} has a TPM, whose contents can only be saved while it runs, with its memory",
            hint=f"lago start {machine.name()}, and take the snapshot without --disk-only",
        )
    if memory and machine.spec.shares:
        raise VMError(
            f"{machine.name()} shares directories with the host, whose state can't be saved",
            hint="stop it, take the snapshot with --disk-only, or remove its shares",
        )


def live_tops(machine: Machine) -> dict[str, str]:
    """The image that each disk of a machine that runs is written to, by device."""
    with refusals(f"the disks of {machine.name()} can't be asked for"):
        root = ET.fromstring(machine.domain().XMLDesc())  # noqa: S314 - libvirt's own
    found = {}
    for disk in root.iterfind("devices/disk"):
        source, target = disk.find("source"), disk.find("target")
        if source is not None and target is not None:
            found[target.get("dev", "")] = source.get("file", source.get("dev", ""))
    return found


def pause(machine: Machine) -> bool:
    """Pause a machine, and return whether it ran before."""
    with refusals(f"{machine.name()} can't be paused"):
        domain = machine.domain()
        if domain.state()[0] != libvirt.VIR_DOMAIN_RUNNING:
            return False
        domain.suspend()
        return True


def resume(machine: Machine) -> None:
    """Resume a machine that stands still."""
    with refusals(f"{machine.name()} can't go on", f"lago stop {machine.name()}; lago start {machine.name()}"):
        machine.domain().resume()


def splits(machine: Machine) -> bool:
    """Whether memory and what devices hold are saved apart for a machine that runs, which is quicker."""
    return ram.in_files(machine) and bool(mapped.of(machine) or ram.files(machine))


def base(machine: Machine) -> str | None:
    """The saved file that a machine that runs has mapped as its memory, if it has."""
    with refusals(f"the memory of {machine.name()} can't be asked for"):
        found = mapped.of(machine)
    return found.path if found else None


def changes(machine: Machine) -> delta.Delta | str:
    """Prepare what saves only that of a machine that runs which changed since a snapshot, or why that can't be."""
    if machine.spec.tpm:
        return "libvirt saves it, for its TPM"
    if not splits(machine):
        return "libvirt saves it"
    try:
        return delta.Delta(machine)
    except (HypervisorError, OSError, libvirt.libvirtError) as error:
        return str(error)


def save_changes(machine: Machine, changed: delta.Delta, state: str) -> str:
    """Write what changed of a machine that stands still; its disks stay as they are.

    Args:
        state: the file, for its description, and what its devices and the pages hold that it changed.

    Returns:
        Why that is not possible, if it is not.
    """
    with _saving(machine):
        try:
            changed.save(state)
        except (HypervisorError, OSError, libvirt.libvirtError) as error:
            if says_full(error) or not machine.alive():
                raise
            LOG.warning("%s is saved as a whole: %s", machine.name(), error)
            return str(error)
    return ""


def save_apart(machine: Machine, memory: str, state: str, ahead: alike.Copy | None = None) -> None:
    """Write the memory of a machine that stands still to a file; its disks stay as they are.

    Args:
        memory: the file.
        state: another, for its description and what its devices hold.
        ahead: what `saved_ahead` has of it; the file is then made like the memory, not written as a whole.
    """
    with _saving(machine), open(state, "wb", opener=not_a_link) as file:
        text = machine.domain().XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE).encode()
        state_file.write_text(file, text)
        file.flush()
        if found := mapped.of(machine):
            # All that it has of memory is among the rest then.
            migration.write_all(machine.domain(), file.fileno())
            ram.blank(memory, found.size)
        else:
            migration.write(machine.domain(), file.fileno())
            files = ram.files(machine)
            if ahead is not None and ahead.sources == tuple(files):
                LOG.debug("%d bytes of the memory of %s have changed", ahead.update(), machine.name())
            else:
                ram.save(files, memory)
    for path in (memory, state):
        os.chmod(path, 0o444)


def consolidate(base: str, state: str, memory: str) -> bool:
    """Leave out of a state what is in the base already, or make a new base of both if the state is still large.

    Where there is no room for that, they stay as they are.

    Args:
        base: the file that the state is counted from.
        state: the state, which nobody reads; it is replaced as a whole.
        memory: the new base, which may be the old one if nobody uses that.

    Returns:
        Whether there is a new base.
    """
    try:
        delta.compact(base, state)
        if not delta.large(base, state):
            return False
        delta.merge(base, state, memory)
    except (HypervisorError, OSError) as error:
        LOG.warning("%s stays large: %s", state, error)
        return False
    return True


@contextlib.contextmanager
def saved_ahead(
    machines: Sequence[Machine], memory: Mapping[str, str], directory: str
) -> Iterator[Mapping[str, alike.Copy]]:
    """Context manager: the memory of machines that still run is in files, so that `save_apart` has little to write.

    Where a disk might become full nothing is written: that would stop whatever guests write meanwhile.

    Args:
        memory: the file of each machine, by name.
        directory: where these files are.

    Yields:
        For each machine, by name, what makes its file like its memory, if that is possible.
    """
    files = {machine: found for machine in machines if (found := ram.files(machine))}
    needed = sum(os.stat(file).st_blocks * 512 for found in files.values() for file in found)
    with contextlib.ExitStack() as stack:
        copies: dict[Machine, alike.Copy] = {}
        if shutil.disk_usage(directory).free > 2 * needed:
            in_parallel(lambda machine: _save_memory(machine, files[machine], memory), files, what="save memory")
            for machine, found in files.items():
                try:
                    copies[machine] = stack.enter_context(alike.Copy(found, memory[machine.name()]))
                except OSError as error:
                    LOG.debug("the memory of %s is written once more when it stands still: %s", machine.name(), error)
            # That took a while. What changes until the next look, which is brief, is little.
            in_parallel(lambda machine: _update(machine, copies[machine]), copies, what="save memory")
        yield {machine.name(): copy for machine, copy in copies.items()}


def _save_memory(machine: Machine, files: Sequence[str], memory: Mapping[str, str]) -> None:
    with _saving(machine):
        ram.save(files, memory[machine.name()])


def _update(machine: Machine, copy: alike.Copy) -> None:
    with _saving(machine):
        copy.update()


@contextlib.contextmanager
def _saving(machine: Machine) -> Iterator[None]:
    try:
        yield
    except (libvirt.libvirtError, HypervisorError, OSError) as error:
        raise HypervisorError(
            f"{machine.name()} can't be saved: {error}",
            hint="the disk is full: lago snapshot delete an old one, or see df"
            if says_full(error)
            else "lago snapshot --disk-only saves the disks alone",
        ) from error


def save(machine: Machine, tops: Mapping[str, str], memory: str | None) -> None:
    """Save a machine: from now on it writes to other images, and libvirt writes its memory to a file.

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
    for dev in live_tops(machine):
        if dev in tops:
            disk = ET.SubElement(disks, "disk", name=dev, snapshot="external", type="file")
            ET.SubElement(disk, "driver", type="qcow2")
            ET.SubElement(disk, "source", file=tops[dev])
        else:
            ET.SubElement(disks, "disk", name=dev, snapshot="no")
    flags = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
    if not memory:
        flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
    with _saving(machine):
        machine.domain().snapshotCreateXML(ET.tostring(root, encoding="unicode"), flags)


def prepare(memory: str, state: str) -> None:
    """Make the files that a machine maps when it comes back, as far as there are others than that with its memory.

    Args:
        memory: the file with its memory.
        state: that with its description.

    Raises:
        OSError: there is no room.
    """
    if not in_memory(memory):
        with open(state, "rb") as file:
            ram.apart(memory, mapped.cells(state_file.read_description(file)))


def restore(machine: Machine, memory: str, tops: Mapping[str, str]) -> None:
    """Bring a machine that is down back to the instant of a snapshot; it stands still.

    Args:
        memory: the file with its memory.
        tops: the images that it shall write to, by device; they lie over those of the snapshot.
    """
    connection = machine.env.libvirt_con
    with refusals(f"{machine.name()} can't be brought back"):
        text = connection.saveImageGetXMLDesc(memory, libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE)
        root = ET.fromstring(text)  # noqa: S314 - libvirt's own
        _relocate(machine, root, tops)
        with machine.env.lifecycle.starting(machine.libvirt_name()):
            connection.restoreFlags(memory, ET.tostring(root, encoding="unicode"), libvirt.VIR_DOMAIN_SAVE_PAUSED)


def restore_apart(machine: Machine, memory: str, state: str, tops: Mapping[str, str]) -> None:
    """Bring a machine back that `save_apart` saved; it stands still. Arguments as there and for `restore`."""
    with refusals(f"{machine.name()} can't be brought back"), open(state, "rb") as file:
        root = state_file.read_description(file)
        _relocate(machine, root, tops)
        for element in root.findall("genid"):
            # Libvirt has a new one by itself only where it restores by itself.
            element.text = str(uuid.uuid4())
        begin = file.tell()
        try:
            if not in_memory(memory):
                mapped.describe(root, memory)
                _boot_packed(machine, root)
                cells = ram.apart(memory, sizes) if (sizes := mapped.cells(root)) else []
                with _started(machine, root, cells) as domain:
                    migration.read(domain, file, {mapped.LIBVIRT_NAME: mapped.NAME}, shared=False)
                return
            LOG.debug("the memory of %s is copied, as it is in a tmpfs", machine.name())
        except (libvirt.libvirtError, HypervisorError, OSError) as error:
            LOG.warning("the memory of %s is copied, as it can't be mapped: %s", machine.name(), error)
        file.seek(begin)
        mapped.describe(root, None)
        with _started(machine, root) as domain:
            ram.load(memory, ram.files(machine))
            migration.read(domain, file, {mapped.NAME: mapped.LIBVIRT_NAME}, shared=True)


@contextlib.contextmanager
def _started(machine: Machine, root: ET.Element, cells: Sequence[str] = ()) -> Iterator[libvirt.virDomain]:
    """Context manager: a machine is started as described; it is stopped again if that goes wrong which is done then.

    Args:
        cells: the files that it shall map as its NUMA cells.
    """
    text = ET.tostring(root, encoding="unicode")
    try:
        with mapped.linked(machine, cells), machine.env.lifecycle.starting(machine.libvirt_name()):
            domain = machine.env.libvirt_con.createXML(text, libvirt.VIR_DOMAIN_START_PAUSED)
        yield domain
    except BaseException:
        machine.stop()
        raise


def _relocate(machine: Machine, root: ET.Element, tops: Mapping[str, str]) -> None:
    """Rewrite a saved description to name the files of now: the prefix may have been moved, or be another.

    Disks that were slow are as they should be.
    """
    paths = machine.env.paths
    disk_fault.forget(root)
    for disk in root.iterfind("devices/disk"):
        source, target = disk.find("source"), disk.find("target")
        if source is None or target is None:
            continue
        dev = target.get("dev", "")
        if dev in tops:
            disk.set("type", "file")
            source.attrib.pop("dev", None)
            source.set("file", tops[dev])
            for chain in disk.findall("backingStore"):
                disk.remove(chain)
            driver = disk.find("driver")
            if driver is not None:
                driver.set("type", "qcow2")
        elif os.path.basename(os.path.dirname(source.get("file", ""))) == os.path.basename(paths.images()):
            source.set("file", paths.images(os.path.basename(source.get("file", ""))))
    for log in root.iter("log"):
        log.set("file", machine.console_log())


def _boot_packed(machine: Machine, root: ET.Element) -> None:
    """Have a description name the packed form of its kernel, where there is one, for when the guest boots again.

    An unpacked one is written into memory as a whole at each reset, and going back in place begins with one.
    """
    image = machine.spec.image
    kernel = root.find("os/kernel")
    if kernel is not None and "kernel-efi" in image and kernel.text == image.get("kernel"):
        kernel.text = str(image["kernel-efi"])


def pull(machine: Machine, dev: str, base: str) -> None:
    """Copy into the image that a disk of a running machine is written to what lies between it and another.

    Args:
        dev: the disk.
        base: the image that it lies over from then on.
    """
    done = threading.Event()
    connection = machine.env.libvirt_con
    watch = connection.domainEventRegisterAny(
        machine.domain(), libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, lambda *_: done.set(), None
    )
    try:
        with refusals(f"the layers of {machine.name()} can't be merged"):
            machine.domain().blockRebase(dev, base, 0, libvirt.VIR_DOMAIN_BLOCK_REBASE_RELATIVE)
            # The event may have come before we listened, or be that of a machine that ended.
            while machine.alive() and machine.domain().blockJobInfo(dev):
                done.wait(0.2)
    finally:
        connection.domainEventDeregisterAny(watch)
