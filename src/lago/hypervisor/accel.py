"""Acceleration of guests: KVM where it really runs them, else emulation (TCG).

That `/dev/kvm` opens and creates machines says little: some KVMs refuse the processor's registers, and some interpret
guest code, a thousand times slower than hardware, so that firmware runs and a kernel never comes up. So `probe` runs a
tiny 64-bit guest for at most two seconds, and remembers the verdict until the machine boots again, or `/dev/kvm`, QEMU
or the user is another.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import re
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from .. import config
from ..constants import TCG_TIME_FACTOR
from ..errors import HostError
from ..host import shape
from ..host.files import json_text, write_atomically
from ..host.programs import package_hint, run, which
from ..host.trust import user_name
from ..log import LOG
from . import probe_guest

QEMU: Final = "qemu-system-x86_64"
KVM_DEVICE: Final = "/dev/kvm"
TIME_LIMIT: Final = 2
"""Seconds the probe's guest gets; it needs a tenth of one where KVM works."""


_REMEDY: Final = "turn virtualisation on in the firmware; on a virtual machine, nested virtualisation in its hypervisor"


@dataclass(frozen=True)
class Accel:
    """How guests run: `kind`, one sentence why, and what would change it."""

    kind: Literal["kvm", "tcg"]
    reason: str
    remedy: str = ""

    @property
    def time_factor(self) -> int:
        """Time-outs for guests are multiplied by this."""
        return 1 if self.kind == "kvm" else TCG_TIME_FACTOR


def choose(setting: str) -> Accel:
    """Choose how guests run on this host, by the config option `accel`: auto, kvm or tcg.

    Raises:
        HostError: kvm is wanted and does not work.
    """
    if setting == "tcg":
        return Accel("tcg", "emulation (TCG) is asked for")
    found = probe()
    if setting == "kvm" and found.kind != "kvm":
        raise HostError(f"accel is kvm, but {found.reason}", hint=found.remedy or "use accel = auto or tcg")
    return found


def probe() -> Accel:
    """Find out whether KVM runs guests for this user; once per boot, and a bad answer is also logged as a warning."""
    key = _key()
    with _cache() as path:
        if path and (known := _recall(path, key)):
            return known
        found = _probe()
        if found.kind == "tcg":
            LOG.warning("%s; guests are emulated (TCG), which is slower; time-outs are scaled", found.reason)
        if path:
            write_atomically(path, json_text({"key": key, "verdict": asdict(found)}))
    return found


def _probe() -> Accel:
    if found := _without_kvm():
        return found
    if why := run_guest("kvm"):
        return Accel("tcg", f"KVM is present but does not run a 64-bit guest ({why})", _REMEDY)
    return Accel("kvm", "KVM runs a 64-bit guest")


def run_guest(kind: Literal["kvm", "tcg"], cpu: str = "max") -> str:
    """Run the tiny guest under an accelerator; the answer is why it did not reach its end, or nothing if it did."""
    argv = [QEMU, "-accel", kind, "-machine", "pc", "-cpu", cpu, "-m", "16", "-nodefaults", "-display", "none"]
    argv += ["-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
    # A QEMU that aborts leaves no core, and `timeout` ends it in time even if we are killed meanwhile.
    limits = ["prlimit", "--core=0", "timeout", "--foreground", "-s", "KILL", str(TIME_LIMIT)]
    with _memory_file(probe_guest.image()) as path:
        status = run([*limits, *argv, "-bios", path], check=False, timeout=TIME_LIMIT + 5)
    if status.code == probe_guest.EXIT_STATUS:
        return ""
    if status.code in (-9, 137):
        return f"it did not end within {TIME_LIMIT} s"
    lines = [line for line in status.error_text.splitlines() if "warning:" not in line]
    return re.sub(rf"^{QEMU}: (error: )?", "", lines[0]) if lines else f"QEMU ended with status {status.code}"


def _without_kvm() -> Accel | None:
    """The verdict when there is no need to run a guest."""
    if not which(QEMU):
        raise HostError(f"the program {QEMU} is not installed", hint=package_hint(QEMU))
    if platform.machine() != "x86_64":
        return Accel("tcg", f"the host is {platform.machine()} and guests are x86_64")
    if not os.path.exists(KVM_DEVICE):
        return Accel("tcg", f"there is no {KVM_DEVICE}", "load the module: modprobe kvm_intel (or kvm_amd)")
    return without_access(KVM_DEVICE)


def without_access(device: str) -> Accel | None:
    """The verdict when this user can't use the device, or loses it in a private libvirt.

    A user namespace drops supplementary groups, so access by group `kvm` is lost there; owner, primary group, others
    and access lists stay. System libvirt has its own user and does not care.
    """
    user = user_name(os.geteuid())
    remedy = f"setfacl -m u:{user}:rw {device}"
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return Accel("tcg", f"{device} can't be opened ({error.strerror})", remedy)
    if os.geteuid() == 0 or _grants(device, os.geteuid(), os.getegid()):
        return None
    return Accel("tcg", f"{device} is open to {user} only through a group, which a private libvirt gives up", remedy)


_ACL_USER, _ACL_GROUP, _ACL_MASK = 0x02, 0x08, 0x10
_RW = 6


def _grants(path: str, uid: int, gid: int) -> bool:
    """Whether a process of `uid` and `gid` alone, without supplementary groups, may read and write."""
    stat = os.stat(path)
    try:
        raw = os.getxattr(path, "system.posix_acl_access")
    except OSError:
        raw = b""
    entries: list[tuple[int, int, int]] = list(struct.iter_unpack("<HHI", raw[4:]))
    mask = next((perm for tag, perm, _ in entries if tag == _ACL_MASK), 7)
    if uid == stat.st_uid:
        return stat.st_mode >> 6 & _RW == _RW
    users = [perm & mask for tag, perm, who in entries if tag == _ACL_USER and who == uid]
    if users:
        return users[0] & _RW == _RW
    groups = [perm & mask for tag, perm, who in entries if tag == _ACL_GROUP and who == gid]
    if gid == stat.st_gid:
        # With an access list the group bits of the mode are the mask, and the owning group has an entry of its own.
        groups += [perm & mask for tag, perm, _ in entries if tag == 0x04] or [stat.st_mode >> 3]
    if groups:
        return any(perm & _RW == _RW for perm in groups)
    return stat.st_mode & _RW == _RW


def _key() -> dict[str, Any]:
    """What the verdict depends on; all of JSON types, because it is compared with what was read back."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot_id = file.read().strip()
    qemu = which(QEMU) or ""
    return {
        "boot_id": boot_id,
        "uid": os.geteuid(),
        "gid": os.getegid(),
        "qemu": [qemu, os.stat(qemu).st_mtime_ns if qemu else 0],
        "device": _device(),
    }


def _device() -> list[int]:
    try:
        stat = os.stat(KVM_DEVICE)
    except OSError:
        return []
    return [stat.st_mode, stat.st_uid, stat.st_gid, stat.st_ctime_ns]


@contextlib.contextmanager
def _cache() -> Iterator[str | None]:
    """Context manager: the file with the verdict is locked; yields its path, or None if there is no place for it."""
    path = os.path.join(config.cache_home(), "accel.json")
    try:
        os.makedirs(config.cache_home(), exist_ok=True)
        fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        LOG.debug("the verdict on KVM can't be kept: %s", error)
        yield None
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield path
    finally:
        os.close(fd)


def _recall(path: str, key: dict[str, Any]) -> Accel | None:
    try:
        with open(path, encoding="utf-8") as file:
            kept = shape.parse(file.read(shape.MOST))
        return Accel(**kept["verdict"]) if kept["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def _memory_file(data: bytes) -> Iterator[str]:
    """Context manager: a path that a child process can read `data` from, and that is gone when we are."""
    fd = os.memfd_create("lago-probe")
    try:
        os.write(fd, data)
        yield f"/proc/{os.getpid()}/fd/{fd}"
    finally:
        os.close(fd)
