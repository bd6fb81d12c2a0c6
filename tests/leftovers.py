"""The proof that a test session left nothing on the host: what was there before, compared with what is there after.

What bears the session's mark (its base directory, in the environment or arguments of a process) is the session's for
certain. Beyond that anything new of a kind that Lago makes counts as left behind, unless `LAGO_TEST_SHARED` says that
others use this machine at the same time.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_PROGRAMS = re.compile(
    r"qemu|libvirtd|virt\w+d$|dnsmasq|slirp4netns|pasta|passt|unshare|nsenter|mmdebstrap|lago|ssh: .*\[mux\]"
)
_TMP = re.compile(r"\.?lago|lt-|libvirt|\.?qemu|mmdebstrap|pytest|rpm-tmp|tmp[a-z0-9_]{8}$")
_RUN = re.compile(r"\.?lago|libvirt|qemu|dnsmasq|slirp|pasta|passt|netns|virt")
_HOME = re.compile(r"\.?(lago|libvirt|qemu|virt)")
_DEEP = (
    "/var/lib/libvirt",
    "/var/cache/libvirt",
    "/var/log/libvirt",
    "/etc/libvirt",
    "/var/lib/lago",
    "/run/netns",
    "/var/lib/swtpm-localca",
    "/var/log/swtpm",
)
_CACHES = {".cache", ".mypy_cache", ".ruff_cache", ".pytest_cache", "__pycache__"}
_NAMESPACES = ("net", "pid", "user")


@dataclass(frozen=True)
class Process:
    """A process that may be left behind; pids are used again, so `start` belongs to its identity."""

    pid: int
    start: str
    command: str = field(compare=False)
    uid: int = field(compare=False)
    environment: str = field(compare=False)

    def __str__(self) -> str:
        return f"process {self.pid}: {self.command[:150]}"


@dataclass(frozen=True)
class Snapshot:
    """What was on the host at one time."""

    processes: frozenset[Process]
    namespaces: frozenset[str]
    interfaces: frozenset[str]
    mounts: frozenset[str]
    files: frozenset[str]


def take(home: str, repository: str) -> Snapshot:
    """Look at the host."""
    return Snapshot(
        processes=frozenset(_processes()),
        namespaces=frozenset(_namespaces()),
        interfaces=frozenset(os.listdir("/sys/class/net")),
        mounts=frozenset(_mounts()),
        files=frozenset(_files(home, repository)),
    )


def difference(before: Snapshot, after: Snapshot, *, base: str, shared: bool) -> list[str]:
    """What the session with the directory `base` left behind, a line for each thing; `shared` with other users."""
    left = [str(process) for process in ours(after.processes - before.processes, base)]
    left += [f"mount {m}" for m in sorted(after.mounts - before.mounts) if not shared or base in m]
    if shared:
        return left
    named = {p for p in after.processes - before.processes if _PROGRAMS.search(_program(p.command))}
    left += sorted({str(process) for process in named} - set(left))
    left += [f"namespace {name}" for name in sorted(after.namespaces - before.namespaces)]
    left += [f"interface {name}" for name in sorted(after.interfaces - before.interfaces)]
    left += [f"file {path}" for path in sorted(after.files - before.files) if path != base]
    return left


def sockets(base: Path) -> list[str]:
    """What is left in a session's directories for sockets, which go with their environments; a line for each thing."""
    places = [place for pattern in ("run/lago", "*/run/lago") for place in base.glob(pattern)]
    return [f"file {path}" for place in places for path in sorted(place.iterdir()) or [place]]


def ours(processes: frozenset[Process], base: str) -> list[Process]:
    """Those that bear the session's mark."""
    return [p for p in processes if p.pid != os.getpid() and (base in p.environment or base in p.command)]


def settle(before: Snapshot, base: str, seconds: float = 5) -> None:
    """Give what is ending the time to end."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and ours(frozenset(_processes()) - before.processes, base):
        time.sleep(0.1)


def end_ours(before: Snapshot, base: str) -> None:
    """End the session's processes, so that one failed session does not spoil the next."""
    for process in ours(frozenset(_processes()) - before.processes, base):
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def processes_of(uids: range) -> list[Process]:
    """Processes of these users."""
    return [p for p in _processes() if p.uid in uids]


def _program(command: str) -> str:
    """The part of a command line that names the program, with the script or module for Python."""
    words = command.split()
    if words and os.path.basename(words[0]).startswith("python"):
        return " ".join(os.path.basename(word) for word in words[1:3])
    return command if command.startswith("ssh: ") else os.path.basename(words[0]) if words else ""


def _processes() -> Iterator[Process]:
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        place = Path("/proc", name)
        try:
            fields = place.joinpath("stat").read_text(errors="replace").rpartition(")")[2].split()
            command = place.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            uid = place.stat().st_uid
        except OSError:
            continue
        if fields[0] in "ZX" or not command or "multiprocessing.resource_tracker" in command:
            continue
        try:
            environment = place.joinpath("environ").read_bytes().decode(errors="replace")
        except OSError:
            environment = ""
        yield Process(int(name), fields[19], command, uid, environment)


def _namespaces() -> Iterator[str]:
    # What has ended and was not yet collected still shows its user namespace.
    for process in _processes():
        for kind in _NAMESPACES:
            try:
                yield os.readlink(f"/proc/{process.pid}/ns/{kind}")
            except OSError:
                continue


def _mounts() -> Iterator[str]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            # Spaces and the like are written as octal numbers (proc(5)).
            place = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), left.split()[4])
            yield f"{place} ({right.split()[0]})"


def _files(home: str, repository: str) -> Iterator[str]:
    for directory, pattern in (("/tmp", _TMP), ("/var/tmp", _TMP), ("/run", _RUN), ("/run/lock", _RUN)):
        yield from (path for path in _entries(directory) if pattern.match(os.path.basename(path)))
    for part in ("", ".cache", ".config", ".local/share", ".local/state"):
        yield from (p for p in _entries(os.path.join(home, part)) if _HOME.match(os.path.basename(p)))
    yield from _entries(os.path.join(home, ".ssh"))
    yield from (path for path in _entries(repository) if os.path.basename(path) not in _CACHES)
    for directory in _DEEP:
        for place, directories, files in os.walk(directory):
            yield from (os.path.join(place, name) for name in directories + files)


def _entries(directory: str) -> list[str]:
    try:
        return [os.path.join(directory, name) for name in os.listdir(directory)]
    except OSError:
        return []
