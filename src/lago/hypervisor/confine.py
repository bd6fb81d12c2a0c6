"""What confines the programs under a private hypervisor of root's: ids of their own, and few of the host's files.

    supervisor, root of the host, in mounts with the host's files; what `lago nsexec` runs is there too
      |- libvirtd, and what it starts     each in a user namespace, the same for both, and in a root made of mounts
      '- the way out

What is passed in keeps its owner on the disk: a mount shows it as belonging to the same user inside (Linux 5.12,
mount_setattr(2)). All is mounted before the user namespace is entered, so that nothing inside can take a mount away, or
make it writable (mount_namespaces(7)).
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
from collections.abc import Callable
from typing import Final, NamedTuple, NoReturn

from . import namespace, protocol

_ROOT: Final = "/tmp"  # noqa: S108 - covered, in mounts of its own
_SYSTEM: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "opt", "nix", "gnu")
"""Where programs are; each may be a link."""

_FILES: Final = (
    "passwd", "group", "hosts", "host.conf", "nsswitch.conf", "resolv.conf", "ld.so.cache", "ld.so.conf", "localtime",
    "os-release", "machine-id", "protocols", "services", "ethertypes", "gai.conf", "swtpm_setup.conf",
    "swtpm-localca.conf", "swtpm-localca.options",
)  # fmt: skip
"""What libvirtd sees of /etc; copies, since what is mounted over a file is gone when that is replaced."""

_DIRECTORIES: Final = (
    "alternatives", "ssl", "pki", "gnutls", "crypto-policies", "ld.so.conf.d", "iproute2", "qemu", "sasl2",
)  # fmt: skip
_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty", "kvm", "vhost-net", "net/tun")
_PLACES: Final = ("dev/net", "dev/pts", "dev/shm", "etc", "proc", "run", "sys", "tmp", "var/tmp", ".devices")
_ANYBODYS: Final = ("dev/shm", "tmp", "var/tmp")
_OWN: Final = (*namespace.LIBVIRTS, "/dev/pts", "/proc", "/run/libvirt", protocol.OWN_DIR, "/sys", "/var/log/swtpm")
"""What is in view and not the host's."""

_ENVIRONMENT: Final = ("PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH")
_MOST_LINKS: Final = 40
"""As many as the kernel follows, path_resolution(7)."""


def under_system(path: str) -> bool:
    """Whether a program is in view without being passed."""
    return path.split("/")[1] in _SYSTEM


class Namespaces:
    """A user namespace and a network namespace of it.

    Args:
        first: the first of the ids on this host that stand for those inside.
        count: how many there are.

    Raises:
        OSError: the kernel refuses.
    """

    def __init__(self, first: int, count: int) -> None:
        self.first = first
        self.count = count
        ours, theirs = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            os.close(theirs[1])
            _make(ours[1], theirs[0])
        os.close(ours[1])
        os.close(theirs[0])
        try:
            _expect(ours[0])
            for kind in ("gid", "uid"):
                with open(f"/proc/{pid}/{kind}_map", "w", encoding="ascii") as file:
                    file.write(f"0 {first} {count}\n")
            os.write(theirs[1], b"1")
            _expect(ours[0])
            self.users = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
            self.network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(theirs[1])
            os.close(ours[0])
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def give(self, path: str) -> None:
        """Let something of ours, and all that is in it, belong to root inside. Raises OSError."""
        os.chown(path, self.first, self.first, follow_symlinks=False)
        if os.path.isdir(path) and not os.path.islink(path):
            for name in os.listdir(path):
                self.give(os.path.join(path, name))


def _make(tell: int, told: int) -> NoReturn:
    try:
        namespace.leave(namespace.USERS, "users")
        os.write(tell, b"1")
        os.read(told, 1)
        _become_root()
        namespace.leave(namespace.NETWORK, "network")
        os.write(tell, b"1")
        os.read(told, 1)
    except BaseException as error:
        os.write(tell, str(error).encode())
    finally:
        os._exit(1)


def _expect(told: int) -> None:
    if (said := os.read(told, 4096)) != b"1":
        raise OSError(errno.EPERM, said.decode(errors="replace") or "no namespaces can be made")


def _become_root() -> None:
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


class _Passed(NamedTuple):
    """Something of the host's.

    Attributes:
        path: where it is inside.
        links: those on the way there, with what they lead to.
        mount: what to mount; none for a device.
        device: its mode and number.
    """

    path: str
    links: tuple[tuple[str, str], ...]
    directory: bool
    mount: int | None = None
    device: tuple[int, int] = (0, 0)


class View:
    """The files that programs have in view, once they have entered."""

    def __init__(self, namespaces: Namespaces) -> None:
        self.namespaces = namespaces
        self._passed: dict[str, _Passed] = {}

    def take(self, path: str, *, writable: bool, at: str = "", follow: bool = True) -> None:
        """Pass a file, a directory or a block device in, as the host has it now; what is not there is passed over.

        Args:
            path: absolute.
            writable: whether it may be written to.
            at: where it is inside, if not there.
            follow: whether it may be a link itself.

        Raises:
            OSError: its file system can't show it as belonging to the same user inside.
        """
        try:
            found = os.stat(path, follow_symlinks=follow)
        except (FileNotFoundError, NotADirectoryError):
            return
        if stat.S_ISLNK(found.st_mode):
            raise OSError(errno.ELOOP, f"{path} is a link")
        links: list[tuple[str, str]] = []
        place = at or _way(path, links)
        way = tuple(links)
        if stat.S_ISBLK(found.st_mode) or stat.S_ISCHR(found.st_mode):
            device = (stat.S_IFMT(found.st_mode) | (0o600 if writable else 0o400), found.st_rdev)
            self._passed[place] = _Passed(place, way, directory=False, device=device)
            return
        if max(found.st_uid, found.st_gid) >= self.namespaces.count:
            raise OSError(errno.EOVERFLOW, f"{path} belongs to {found.st_uid}:{found.st_gid}, which are large numbers")
        directory = stat.S_ISDIR(found.st_mode)
        if directory and not at and any(own == place or own.startswith(place.rstrip("/") + "/") for own in _OWN):
            raise OSError(errno.EBUSY, f"{path} is to be in view, and would hide what is not the host's there")
        mount = self._shown(path, writable=writable, follow=follow)
        if (before := self._passed.get(place)) is not None and before.mount is not None:
            os.close(before.mount)
        self._passed[place] = _Passed(place, way, directory, mount)

    def _shown(self, path: str, *, writable: bool, follow: bool) -> int:
        mount = namespace.tree(path, follow=follow)
        attributes = namespace.CLOSED | (0 if writable else namespace.READ_ONLY)
        users = self.namespaces.users
        try:
            try:
                namespace.set_attributes(mount, attributes, users=users)
            except OSError:
                # Something that is mounted below it can't. That is seen, but belongs to nobody.
                namespace.set_attributes(mount, attributes)
                namespace.set_attributes(mount, 0, users=users, whole=False)
        except OSError as error:
            os.close(mount)
            raise OSError(error.errno, f"the file system of {path} can't show files under other ids") from None
        return mount

    def enter(self, build: Callable[[View, str], None]) -> None:
        """Become root inside, with nothing in view but what `build` puts below a directory.

        Raises:
            OSError: the kernel refuses.
        """
        namespace.own_mounts()
        namespace.fresh(_ROOT, "mode=0755", devices=True)
        build(self, _ROOT)
        namespace.root_here(_ROOT)
        namespace.enter(self.namespaces.users, namespace.USERS, "users")
        _become_root()
        namespace.leave(namespace.MOUNTS | namespace.IPC, "mounts")

    def pass_all(self, root: str) -> None:
        """Put what was passed below `root`, what is outside first. Raises OSError."""
        for number, one in enumerate(sorted(self._passed.values(), key=lambda one: one.path)):
            for link, target in one.links:
                if not os.path.lexists(root + link):
                    os.makedirs(os.path.dirname(root + link), exist_ok=True)
                    os.symlink(target, root + link)
            _place(root + one.path, directory=one.directory)
            if one.mount is not None:
                namespace.hang(one.mount, root + one.path)
                continue
            node = f"{root}/.devices/{number}"
            self._node(node, *one.device)
            namespace.bind(node, root + one.path)

    def forget(self) -> None:
        """Close what was passed; who has entered, or is about to, keeps it."""
        for one in self._passed.values():
            if one.mount is not None:
                os.close(one.mount)
        self._passed.clear()

    def nodes(self, root: str) -> None:
        """Make the devices that the host has of those that are needed. Raises OSError."""
        for name in _DEVICES:
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(f"/dev/{name}")
                self._node(f"{root}/dev/{name}", stat.S_IFMT(found.st_mode) | 0o666, found.st_rdev)

    def _node(self, path: str, mode: int, number: int) -> None:
        os.mknod(path, mode, number)
        os.chmod(path, stat.S_IMODE(mode))
        self.namespaces.give(path)


def _way(path: str, links: list[tuple[str, str]]) -> str:
    """Where a path leads; the links on the way are added to `links`."""
    at, todo = "/", path.split("/")
    while todo:
        name = todo.pop(0)
        if name == "..":
            at = os.path.dirname(at)
        elif name not in ("", "."):
            here = os.path.join(at, name)
            if not os.path.islink(here) or len(links) >= _MOST_LINKS:
                at = here
                continue
            target = os.readlink(here)
            links.append((here, target))
            todo = target.split("/") + todo
            at = "/" if target.startswith("/") else at
    return at


def _place(path: str, *, directory: bool) -> None:
    if os.path.exists(path):
        return
    if directory:
        os.makedirs(path)
    else:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _hang(source: str, target: str, *, read_only: bool = True, whole: bool = True) -> None:
    mount = namespace.tree(source, whole=whole)
    try:
        namespace.set_attributes(mount, namespace.CLOSED | (namespace.READ_ONLY if read_only else 0))
        _place(target, directory=os.path.isdir(source))
        namespace.hang(mount, target)
    finally:
        os.close(mount)


def system(view: View, root: str) -> None:
    """Put programs, devices, /proc, /sys and places for what is short-lived below `root`. Raises OSError."""
    for name in _SYSTEM:
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{root}/{name}")
        elif os.path.isdir(f"/{name}"):
            _hang(f"/{name}", f"{root}/{name}")
    for name in _PLACES:
        os.makedirs(f"{root}/{name}")
    for name in _ANYBODYS:
        namespace.fresh(f"{root}/{name}", "mode=1777")
    view.nodes(root)
    namespace.fresh(f"{root}/dev/pts", "newinstance,ptmxmode=0666,mode=0600", "devpts", devices=True)
    for name, target in (
        ("dev/ptmx", "pts/ptmx"),
        ("dev/fd", "/proc/self/fd"),
        ("var/run", "../run"),
        ("var/lock", "../run/lock"),
    ):
        os.symlink(target, f"{root}/{name}")
    for name in ("proc", "sys"):
        _hang(f"/{name}", f"{root}/{name}", read_only=False)


def for_libvirt(view: View, root: str) -> None:
    """Put what libvirtd and the programs that it starts see below `root`. Raises OSError."""
    system(view, root)
    for name in _FILES:
        if os.path.exists(f"/etc/{name}"):
            with open(f"/etc/{name}", "rb") as file, open(f"{root}/etc/{name}", "wb") as copy:
                copy.write(file.read())
    for name in _DIRECTORIES:
        if os.path.isdir(f"/etc/{name}"):
            _hang(os.path.realpath(f"/etc/{name}"), f"{root}/etc/{name}")
    namespace.fresh(f"{root}/run", "mode=0755")
    # Libvirt has locks of consoles there.
    os.mkdir(f"{root}/run/lock")
    for path in (f"{root}/run", f"{root}/run/lock"):
        view.namespaces.give(path)
    # What is mounted below these is passed.
    for path in (*namespace.LIBVIRTS, "/run/libvirt", "/var/log/swtpm"):
        # Where the host has no such directory it is a link by now, as all beside it.
        real = os.path.realpath(path)
        if os.path.isdir(real):
            view.namespaces.give(real)
            _hang(real, root + path, read_only=False, whole=False)
    for path in (protocol.MEMORY_DIR, protocol.CARRIERS_DIR, protocol.SOCKETS_DIR, protocol.NOTIFY):
        _hang(path, root + path, read_only=False)
    view.pass_all(root)


def for_way_out(view: View, root: str) -> None:
    """Put what the way out sees below `root`: it resolves names as the host does. Raises OSError."""
    system(view, root)
    for name in ("etc", "run"):
        _hang(f"/{name}", f"{root}/{name}")
    _place(root + protocol.NETNS_FILE, directory=False)
    namespace.bind("/proc/1/ns/net", root + protocol.NETNS_FILE)
    view.pass_all(root)


def try_out(namespaces: Namespaces) -> None:
    """See that such a root can be made and entered. Raises OSError if not."""
    read, write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            View(namespaces).enter(system)
            os.write(write, b"1")
        except BaseException as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(1)
    os.close(write)
    try:
        _expect(read)
    finally:
        os.close(read)
        os.waitpid(pid, 0)


def environment() -> dict[str, str]:
    """What a program inside may know of our environment, which may have secrets in it."""
    kept = {name: value for name, value in os.environ.items() if name in _ENVIRONMENT or name.startswith("LC_")}
    return {**kept, "HOME": "/tmp"}  # noqa: S108 - its own
