"""What the host offers and lacks, each with its remedy; the command `lago doctor` shows it."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from typing import Final

from .. import config
from ..errors import LagoError
from ..host.confined import refusal
from ..host.programs import package_hint, run
from . import accel
from . import checks as host
from .checks import Check as Check

MIN_QEMU: Final = (7, 2)
MIN_LIBVIRT: Final = (9, 0)
_GIB: Final = 1024**3

PROGRAMS: Final = (
    "qemu-system-x86_64",
    "qemu-img",
    "libvirtd",
    "virsh",
    "dnsmasq",
    "ip",
    "iptables",
    "unshare",
    "nsenter",
    "ssh",
    "ssh-keygen",
)
"""Without one of these no environment runs."""

BUILD_PROGRAMS: Final = ("mmdebstrap", "mke2fs", "cpio", "zstd")
"""These are needed to build templates only."""


def checks() -> list[Check]:
    """Check everything, in the order in which a person mends it."""
    return [found for check in _CHECKS for found in _look(check)]


def python() -> Check:
    """Check the interpreter that runs Lago, and its binding to libvirt."""
    version = ".".join(map(str, sys.version_info[:3]))
    try:
        import libvirt  # noqa: F401
    except ImportError as error:
        return Check("Python", "fail", f"{version}, without libvirt: {error}", "pip install libvirt-python")
    return Check("Python", "ok", version)


def qemu() -> Check:
    """Check the emulator."""
    return _version("QEMU", "qemu-system-x86_64", MIN_QEMU)


def libvirtd() -> list[Check]:
    """Check the daemon that private hypervisors start, and its drivers."""
    found = [_version("libvirtd", "libvirtd", MIN_LIBVIRT)]
    return [*found, host.libvirt_drivers()] if host.which("libvirtd") else found


def programs() -> list[Check]:
    """Check the other programs that are run."""
    missing = [Check(p, "fail", "not installed", package_hint(p)) for p in PROGRAMS if not host.which(p)]
    missing += [
        Check(p, "warn", "not installed; templates can't be built here", package_hint(p))
        for p in BUILD_PROGRAMS
        if not host.which(p)
    ]
    return missing or [Check("programs", "ok", f"all {len(PROGRAMS) + len(BUILD_PROGRAMS)} are installed")]


def egress() -> Check:
    """Check what takes guests on nat nets to the outside."""
    found = [program for program in ("slirp4netns", "pasta") if host.which(program)]
    if not found:
        return Check("egress", "warn", "guests can't reach the outside", package_hint("slirp4netns"))
    return Check("egress", "ok", ", ".join(found))


def recorders() -> list[Check]:
    """Check what records packets and films of screens; neither is needed for anything else."""
    packets = [program for program in ("tcpdump", "dumpcap") if host.which(program)]
    found = [
        Check("packets", "ok", ", ".join(packets))
        if packets
        else Check("packets", "warn", "packets can't be captured", package_hint("tcpdump"))
    ]
    if host.which("ffmpeg"):
        return [*found, Check("films", "ok", "ffmpeg")]
    return [*found, Check("films", "warn", "screens can't be filmed; consoles can", package_hint("ffmpeg"))]


def acceleration() -> Check:
    """Check whether guests are virtualised or emulated."""
    found = accel.probe()
    return Check("KVM", "ok" if found.kind == "kvm" else "warn", found.reason, found.remedy)


def reading_of_images() -> Check:
    """Check whether programs that read images of strangers can be kept from all but these."""
    if why := refusal():
        remedy = "allow namespaces, in a container by --privileged; or use images that you trust"
        return Check("reading of images", "warn", f"qemu-img reads images with all your rights: {why}", remedy)
    return Check("reading of images", "ok", "qemu-img sees only the images that it reads and writes")


def disk_space() -> Check:
    """Check that there is room for template images."""
    store = place = config.template_store()
    while not os.path.exists(place):
        place = os.path.dirname(place)
    free = shutil.disk_usage(place).free
    found = f"{free / _GIB:.1f} GiB free for {store}"
    if not os.access(place, os.W_OK):
        return Check("disk space", "fail", f"{place} is not writable", "set template_store to a directory of yours")
    if free < 10 * _GIB:
        remedy = "free some, or set template_store to a directory on another disk"
        return Check("disk space", "fail" if free < _GIB else "warn", found, remedy)
    return Check("disk space", "ok", found)


_CHECKS: Final[tuple[Callable[[], Check | list[Check]], ...]] = (
    python,
    qemu,
    libvirtd,
    programs,
    host.user_namespaces,
    host.capabilities,
    host.subids,
    host.id_mappers,
    host.namespaces,
    host.confinement,
    host.tun,
    egress,
    recorders,
    acceleration,
    reading_of_images,
    disk_space,
)


def _look(check: Callable[[], Check | list[Check]]) -> list[Check]:
    try:
        found = check()
    except LagoError as error:
        found = Check(check.__name__.replace("_", " "), "fail", error.what, error.hint)
    return found if isinstance(found, list) else [found]


def _version(name: str, program: str, least: tuple[int, int]) -> Check:
    path = host.which(program)
    if not path:
        return Check(name, "fail", f"{program} is not installed", package_hint(program))
    text = run([path, "--version"], timeout=30).text
    match = re.search(r"(\d+)\.(\d+)(\.\d+)*", text)
    if not match:
        return Check(name, "warn", f"can't tell its version: {text.strip()[:60]}")
    if (int(match[1]), int(match[2])) < least:
        return Check(name, "fail", match[0], f"install {name} {least[0]}.{least[1]} or later")
    return Check(name, "ok", match[0])
