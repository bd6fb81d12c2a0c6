"""The part of `lago.host.confined` that is a program of its own: it confines itself, and becomes the program to run.

It stands alone, since it is started for each program: of Python it needs what comes up in a few milliseconds.

    confining.py --report FD --parent PID [--read PATH] [--write PATH] [--system PATH] [--group GID] [--network host]
                  [--memory BYTES] [--seconds N] [--largest BYTES] [--set NAME=VALUE] -- PROGRAM ARGUMENTS...

What keeps it from being confined is written to the descriptor FD, and then it is limited only. The mount API is that of
Linux 5.12, with the same numbers on every architecture.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import sys

_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE_CLONE, _MOVE_MOUNT_F_EMPTY_PATH = 1, 4
_READ_ONLY, _NO_SETUID, _IDS = 1, 2, 0x100000
_MS_NOSUID, _MS_NODEV, _MS_MOVE, _MS_REC, _MS_PRIVATE = 2, 4, 0x2000, 0x4000, 1 << 18
_MNT_DETACH = 2
_NEWNS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_SET_PDEATHSIG, _CAPBSET_DROP, _SET_NO_NEW_PRIVS = 1, 24, 38
_SIGKILL = 9
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522

_NOBODYS, _NUMBER = 0x80000000, 0x40000000
"""Ids that are nobody's: systemd gives none from 2^31 on to anybody. In the view of root's program files have them."""

_EXTRA_GROUP = 0x70000000
_EVERYWHERE = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt",
    "/nix",
    "/gnu",
    "/etc/ld.so.cache",
)
_OPTIONS = (
    *("report", "parent", "read", "write", "system", "group", "network"),
    *("memory", "seconds", "largest", "set"),
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _prctl(what: int, value: int) -> int:
    found: int = _libc.prctl(what, ctypes.c_ulong(value), 0, 0, 0)
    return found


class _Attributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


def _clone(path: str) -> int:
    """A descriptor of a mount of its own of what is at a path."""
    deep = _AT_RECURSIVE if os.path.isdir(path) else 0
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | deep
    return _check(_libc.syscall(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags), f"open_tree {path}")


def _change(tree: int, flags: int, users: int = 0, *, deep: bool = True) -> None:
    wanted = _Attributes(flags, 0, 0, users)
    how = _AT_EMPTY_PATH | (_AT_RECURSIVE if deep else 0)
    found = _libc.syscall(_SYS_MOUNT_SETATTR, tree, b"", how, ctypes.byref(wanted), ctypes.sizeof(wanted))
    _check(found, "mount_setattr")


def _users(first: int, group: str) -> int:
    """A descriptor of a user namespace in which the ids from 0 on are those of this one from `first` on."""
    asked, ask = os.pipe()
    ready, told = os.pipe()
    child = os.fork()
    if not child:
        # Who is only asked for his namespace.
        try:
            os.close(ask)
            os.write(told, b"0" if _libc.unshare(_NEWUSER) == 0 else b"1")
            os.read(asked, 1)
        finally:
            os._exit(0)
    os.close(asked)
    try:
        if os.read(ready, 1) != b"0":
            raise OSError(errno.EPERM, "unshare users: refused")
        for kind in ("uid", "gid"):
            lines = [f"0 {first} {_NUMBER}"]
            if kind == "gid" and group:
                lines.append(f"{_EXTRA_GROUP} {group} 1")
            with open(f"/proc/{child}/{kind}_map", "w", encoding="ascii") as file:
                file.write("\n".join(lines) + "\n")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        for fd in (ask, ready, told):
            os.close(fd)
        os.waitpid(child, 0)


class _View:
    """What the program has in view: mounts that are made, and then are all that there is."""

    def __init__(self) -> None:
        self.trees: dict[str, int] = {}
        self.links: dict[str, str] = {}

    def add(self, path: str, flags: int, users: int = 0) -> None:
        if not os.path.exists(path):
            return
        tree = _clone(path)
        self.trees[path] = tree
        _change(tree, flags | (_IDS if users else 0), users)

    def system(self, path: str) -> None:
        if os.path.islink(path) and os.path.isdir(path):
            self.links[path] = os.readlink(path)
        else:
            self.add(path, _READ_ONLY | _NO_SETUID)

    def show(self, there: str) -> None:
        """Make it the root; `there` is to be the working directory."""
        _check(_libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "mount /")
        _check(_libc.mount(b"none", b"/usr", b"tmpfs", _MS_NOSUID | _MS_NODEV, b"mode=0755,size=1m"), "mount")
        try:
            os.chdir("/usr")
            for path, to in self.links.items():
                os.symlink(to, f".{path}")
            for path in sorted(self.trees, key=lambda one: (one.count("/"), one)):
                self._place(path, f".{path}")
            os.makedirs(f".{there}", exist_ok=True)
            root = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            _change(root, _READ_ONLY, deep=False)
            _check(_libc.mount(b".", b"/", None, _MS_MOVE, None), "move /")
        except OSError:
            os.chdir("/")
            _libc.umount2(b"/usr", _MNT_DETACH)
            raise
        os.chroot(".")
        os.chdir(there)

    def _place(self, path: str, place: str) -> None:
        if os.path.isdir(f"/proc/self/fd/{self.trees[path]}"):
            os.makedirs(place, exist_ok=True)
        elif not os.path.lexists(place):
            os.makedirs(os.path.dirname(place), exist_ok=True)
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o600))
        tree = self.trees[path]
        moved = _libc.syscall(_SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(place), _MOVE_MOUNT_F_EMPTY_PATH)
        _check(moved, f"move_mount {path}")
        os.close(tree)


def _prepare(options: dict[str, list[str]], program: str, users: int) -> _View:
    view = _View()
    for path in (*_EVERYWHERE, *_DEVICES, *options["system"]):
        view.system(path)
    if not any(os.path.commonpath((program, one)) == one for one in _EVERYWHERE):
        view.system(program)
    for path in options["read"]:
        view.add(path, _READ_ONLY | _NO_SETUID, users)
    for path in options["write"]:
        view.add(path, _NO_SETUID, users)
    return view


def _as_root(options: dict[str, list[str]], program: str) -> tuple[_View, int]:
    """The view, and the user namespace that the program is in, of root."""
    group = (options["group"] or [""])[0]
    users = _users(_NOBODYS, group)
    try:
        return _prepare(options, program, users), users
    except OSError:
        # A file system that has no other ids: its files are ours, but we have no rights over others.
        os.close(users)
        return _prepare(options, program, 0), _users(0, "")


def _drop(keep: int) -> None:
    for capability in range(64):
        if capability != keep:
            _libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0)
    bits = 1 << keep if keep >= 0 else 0
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(bits, bits, 0, 0, 0, 0)
    _check(_libc.capset(header, data), "capset")


def _limit(options: dict[str, list[str]]) -> None:
    # Who is process 1 gets no warning, so the two limits are nearly one.
    for name, kind, more in (
        ("memory", resource.RLIMIT_AS, 0),
        ("seconds", resource.RLIMIT_CPU, 1),
        ("largest", resource.RLIMIT_FSIZE, 0),
    ):
        if options[name]:
            _, most = resource.getrlimit(kind)
            wanted = int(options[name][0])
            wanted = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
            hard = wanted + more if most == resource.RLIM_INFINITY else min(wanted + more, most)
            resource.setrlimit(kind, (wanted, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _check(_prctl(_SET_NO_NEW_PRIVS, 1), "no_new_privs")


def _namespaces(options: dict[str, list[str]], root: bool) -> None:
    """Be in new namespaces, but that of processes. Raises OSError."""
    uid, gid = os.geteuid(), os.getegid()
    kinds = _NEWNS | _NEWIPC | (0 if options["network"] else _NEWNET) | (0 if root else _NEWUSER)
    _check(_libc.unshare(kinds), "unshare")
    if not root:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)


def _become(view: _View, users: int, there: str, group: bool) -> None:
    """Have the view alone, and no rights but those that it takes. Raises OSError."""
    view.show(there)
    if users:
        _check(_libc.setns(users, _NEWUSER), "setns")
        os.setgroups([_EXTRA_GROUP] if group else [])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    _drop(_CAP_DAC_OVERRIDE if users else -1)


def _wait(child: int, report: int) -> None:
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status < 0:
        os.write(report, f"signal {-status}\n".encode())
    os._exit(status if status >= 0 else 128 - status)


def _die_with(parent: int) -> None:
    """Be killed when the parent ends, or end if it has already."""
    # Lost with any change of rights before.
    _check(_prctl(_SET_PDEATHSIG, _SIGKILL), "pdeathsig")
    if os.getppid() != parent:
        os._exit(1)


def _confine(options: dict[str, list[str]], program: str, report: int, parent: int) -> None:
    """Return in a process that is confined, while this one waits for it. Raises OSError."""
    root, there = os.geteuid() == 0, os.getcwd()
    _namespaces(options, root)
    _die_with(parent)
    view, users = _as_root(options, program) if root else (_prepare(options, program, 0), 0)
    _check(_libc.unshare(_NEWPID), "unshare processes")
    alive, ends = os.pipe()
    if child := os.fork():
        os.close(alive)
        _wait(child, report)
    os.close(ends)
    _become(view, users, there, bool(options["group"]))
    # Of a process outside nobody in here sees the number.
    _die_with(0)
    os.set_blocking(alive, False)
    with contextlib.suppress(BlockingIOError):
        os.read(alive, 1)
        os._exit(1)


def main(words: list[str]) -> None:
    """Do what the words say."""
    end = words.index("--")
    argv = words[end + 1 :]
    options: dict[str, list[str]] = {name: [] for name in _OPTIONS}
    for at in range(0, end, 2):
        options[words[at][2:]].append(words[at + 1])
    report, parent = int(options["report"][0]), int(options["parent"][0])
    os.set_inheritable(report, False)
    try:
        _confine(options, argv[0], report, parent)
    except OSError as error:
        os.write(report, f"refused {error.args[1]}\n".encode())
        _check(_prctl(_SET_PDEATHSIG, _SIGKILL), "pdeathsig")
    _limit(options)
    os.execve(argv[0], argv, dict(word.split("=", 1) for word in options["set"]))  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
