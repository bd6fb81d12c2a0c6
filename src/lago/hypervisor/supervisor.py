"""Process 1 of a private hypervisor's namespaces: starts libvirtd, connects the host to guests, ends everything.

Runs as `unshare ... python -c "supervisor.main(...)"` (see `private`); when it ends, for whatever reason, the kernel
ends every process in its pid namespace and with the last one its network. It imports as little as it can: it lives as
long as the environment does.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import sys
import threading
import time
from typing import Any, Final, NamedTuple, NoReturn

from ..constants import PROGRAMS_OF_ROOT
from ..host import long_logs
from ..host.waiting import pidfd, readable, wait_for_end, within
from . import confine, firewall, namespace, protocol
from .dial import reach
from .way_out import WayOut, become

_SIGNALS: Final = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_REFUSALS: Final = (errno.EPERM, errno.ENOSYS)
"""What the kernel says to a system call that may not be made here, as by a seccomp filter."""

_QEMU_CONF: Final = f"""\
user = "root"
group = "root"
swtpm_user = "root"
swtpm_group = "root"
dynamic_ownership = 0
remember_owner = 0
cgroup_controllers = []
security_driver = "none"
namespaces = []
stdio_handler = "file"
memory_backing_dir = "{protocol.MEMORY_DIR}"
hugetlbfs_mount = []
capability_filters = [ "cpu-unavailable-features" ]
"""
_SOCKETS: Final = protocol.SOCKETS_DIR
_NETWORKS: Final = "/run/libvirt/network"
_AGAIN: Final = 0.01
_LOOK: Final = 10.0
"""Seconds after which the sizes of logs are looked at."""

_PAUSE: Final = 0.1
_START_TIMEOUT: Final = 60
_CACHE: Final = "/var/cache/libvirt/qemu"
_KINDS: Final = "capabilities"
_TPM_CA: Final = "/var/lib/swtpm-localca"
_TPM_LOG: Final = "/var/log/swtpm/libvirt/qemu"


def main(settings: dict[str, Any], ready_fd: int, lock_fd: int) -> NoReturn:
    """Set everything up, say so on `ready_fd`, and serve until told to end; `lock_fd` is held as long as we live.

    Settings: `run_dir`, `cache_dir` (kept between runs), `qemu_log_dir`, `logs` (directories of logs that may take
    `log_limit` bytes each), `tpm` (directories `state`, `ca` and `log`), `egress` (argv or none), `egress_log`,
    `closed` (what guests do not reach outside), `nameservers`, and `confine`, none or: `first` and `count` of the ids,
    `must`, `programs` (directories), `own` (directories to write to) and `passed` (paths, and whether to write). What
    is said has `no_way_out`: why guests have none, and `unconfined`: why they are not confined.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    # dnsmasq, which is nobody in here, reads what libvirtd writes, whatever the user keeps from others.
    os.umask(0o022)
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:{PROGRAMS_OF_ROOT}"
    for fd in (ready_fd, lock_fd):
        os.set_inheritable(fd, False)
    try:
        # Some of ours are below what is covered.
        logs = [_directory(path, settings["qemu_log_dir"]) for path in settings["logs"]]
        views, unconfined = _views(settings)
        way_out = _set_up(settings, views)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(os.path.join(settings["run_dir"], protocol.SOCKET_NAME))
        listener.listen(64)
        libvirtd = _start_libvirtd(settings["closed"], views.libvirt if views else None)
        if views:
            _keep(settings["cache_dir"])
        told = {"ok": True, "no_way_out": way_out.failure() if way_out else "", "unconfined": unconfined}
    except Exception as error:
        import traceback

        traceback.print_exc()
        refused = isinstance(error, OSError) and error.errno in _REFUSALS
        text = str(error.strerror if isinstance(error, OSError) and refused else f"{type(error).__name__}: {error}")
        must = isinstance(error, _UnconfinedError)
        told = {"error": str(error) if must else text, "refused": refused, "must": must}
        os.write(ready_fd, json.dumps(told).encode())
        os._exit(1)
    os.ftruncate(lock_fd, 0)
    os.pwrite(lock_fd, protocol.READY, 0)
    try:
        os.write(ready_fd, json.dumps(told).encode())
    except BrokenPipeError:
        # Whoever started us is gone, and nobody would know of us.
        os._exit(1)
    os.close(ready_fd)
    threading.Thread(target=_serve, args=(listener,), daemon=True).start()
    while True:
        found = signal.sigtimedwait(_SIGNALS, _LOOK)
        if found is None:
            # Whoever writes to them tells nobody how much.
            for directory in logs:
                long_logs.cut_all(directory, settings["log_limit"])
            continue
        if found.si_signo != signal.SIGCHLD:
            end(grace=2)
        servers = _name_servers()
        for pid in _reap():
            if pid == libvirtd:
                print("libvirtd ended, and everything with it", file=sys.stderr, flush=True)
                os._exit(1)
            if pid in servers:
                print("the dnsmasq of a net ended; libvirt starts it again", file=sys.stderr, flush=True)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(libvirtd, signal.SIGHUP)
            if way_out and pid == way_out.pid:
                print("the way out of guests ended; what it said is in egress.log", file=sys.stderr, flush=True)


class _UnconfinedError(Exception):
    """Programs can't be confined, and must be."""


class _Views(NamedTuple):
    """What programs have in view that are confined."""

    libvirt: confine.View
    way_out: confine.View


def _views(settings: dict[str, Any]) -> tuple[_Views | None, str]:
    """What confines programs; or why nothing does, if that must not be."""
    if (wanted := settings["confine"]) is None:
        return None, ""
    views = None
    try:
        namespaces = confine.Namespaces(wanted["first"], wanted["count"])
        confine.try_out(namespaces)
        views = _Views(confine.View(namespaces), confine.View(namespaces))
        for view in views:
            for directory in wanted["programs"]:
                view.take(directory, writable=False)
        for directory in wanted["own"]:
            views.libvirt.take(directory, writable=True)
        for path, writable in wanted["passed"]:
            views.libvirt.take(path, writable=writable)
        for path, place in _places(settings).items():
            views.libvirt.take(path, writable=True, at=place, follow=False)
    except OSError as error:
        if wanted["must"]:
            raise _UnconfinedError(error.strerror or str(error)) from error
        for view in views or ():
            view.forget()
        return None, str(error.strerror or error)
    return views, ""


def _directory(path: str, others: str) -> int:
    """Open a directory of logs; `others` can be replaced by who writes to what it is in."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    return os.open(path, flags | os.O_NOFOLLOW if path == others else flags)


def _places(settings: dict[str, Any]) -> dict[str, str]:
    """Directories that libvirtd knows under names of its own; not every path can be written into its configuration."""
    tpm = settings["tpm"]
    found = {settings["qemu_log_dir"]: "/var/log/libvirt/qemu", tpm["state"]: "/var/lib/libvirt/swtpm"}
    # The host has this only with swtpm, which would make its authority there, for all environments.
    return {**found, tpm["ca"]: _TPM_CA, tpm["log"]: _TPM_LOG} if os.path.isdir(_TPM_CA) else found


def _set_up(settings: dict[str, Any], views: _Views | None) -> WayOut | None:
    way_out = None
    if settings["egress"]:
        way_out = WayOut(settings["egress"], settings["egress_log"], views.way_out if views else None)
    if views is not None:
        views.way_out.forget()
    namespace.new_network(views.libvirt.namespaces.network if views else None)
    namespace.own_run()
    for directory in namespace.LIBVIRTS:
        namespace.cover(directory)
    os.makedirs("/etc/libvirt/qemu/networks")
    namespace.make_memory_dir()
    os.mkdir(protocol.CARRIERS_DIR)
    places = _places(settings)
    if _TPM_LOG in places.values():
        namespace.cover("/var/log/swtpm")
    os.mkdir(_SOCKETS)
    if views is None:
        namespace.bind(settings["run_dir"], _SOCKETS)
        for path, place in {**places, settings["cache_dir"]: _CACHE}.items():
            os.makedirs(place, exist_ok=True)
            namespace.bind(path, place)
    else:
        _set_up_apart(settings, views)
    namespace.add_users(("libvirt-qemu", "qemu"))
    namespace.replace_file("/etc/resolv.conf", "".join(f"nameserver {a}\n" for a in settings["nameservers"]))
    if way_out is not None:
        way_out.go()
    return way_out


def _set_up_apart(settings: dict[str, Any], views: _Views) -> None:
    """Make what those that are confined write to in our view of files, such that nothing else of it is theirs."""
    namespaces = views.libvirt.namespaces
    sockets = os.path.join(settings["run_dir"], protocol.LIBVIRT_DIR)
    os.mkdir(sockets, 0o700)
    namespaces.give(sockets)
    namespace.bind(sockets, _SOCKETS)
    os.symlink(
        f"{protocol.LIBVIRT_DIR}/{protocol.LIBVIRT_SOCKET_NAME}",
        os.path.join(settings["run_dir"], protocol.LIBVIRT_SOCKET_NAME),
    )
    namespaces.give(protocol.MEMORY_DIR)
    for name in _known(settings["cache_dir"]):
        os.makedirs(os.path.join(_CACHE, _KINDS), exist_ok=True)
        with open(os.path.join(_CACHE, _KINDS, name), "wb") as file:
            file.write(_content(os.path.join(settings["cache_dir"], _KINDS, name)))


def _known(directory: str) -> list[str]:
    """What libvirt remembers of emulators; here and there, by name."""
    try:
        return [name for name in os.listdir(os.path.join(directory, _KINDS)) if name.endswith(".xml")]
    except FileNotFoundError:
        return []


def _keep(cache_dir: str) -> None:
    """Keep for other environments what libvirtd found out, as long as no guest can have told it."""
    directory = os.path.join(cache_dir, _KINDS)
    os.makedirs(directory, exist_ok=True)
    for name in _known(_CACHE):
        path = os.path.join(directory, name)
        found = _content(os.path.join(_CACHE, _KINDS, name))
        if name in _known(cache_dir) and _content(path) == found:
            continue
        temporary = f"{path}.{time.monotonic_ns()}"
        with open(temporary, "wb") as file:
            file.write(found)
        os.replace(temporary, path)


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _start_libvirtd(closed: list[str], view: confine.View | None) -> int:
    with open("/etc/libvirt/qemu.conf", "w", encoding="utf-8") as file:
        file.write(_QEMU_CONF)
    with open("/etc/libvirt/libvirtd.conf", "w", encoding="utf-8") as file:
        file.write(
            f'unix_sock_dir = "{protocol.SOCKETS_DIR}"\nunix_sock_rw_perms = "0700"\nunix_sock_ro_perms = "0700"\n'
            'auth_unix_rw = "none"\nauth_unix_ro = "none"\nlog_outputs = "3:stderr"\n'
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(protocol.NOTIFY)
        if view is not None:
            view.namespaces.give(protocol.NOTIFY)
        pid = os.fork()
        if pid == 0:
            _become_libvirtd(view)
        if view is not None:
            view.forget()
        firewall.set_up(closed)
        ready = False
        with pidfd(pid) as libvirtd:
            for left in within(_START_TIMEOUT):
                # It was seen to be ready, on a busy host, when its socket was not there to be connected to.
                if ready and os.path.exists(f"{protocol.SOCKETS_DIR}/libvirt-sock"):
                    return pid
                found = readable([notified.fileno(), libvirtd], _AGAIN if ready else left)
                if libvirtd in found:
                    raise RuntimeError("libvirtd ended at once")
                ready = ready or (notified.fileno() in found and b"READY=1" in notified.recv(4096))
    raise RuntimeError(f"libvirtd was not ready after {_START_TIMEOUT} s")


def _become_libvirtd(view: confine.View | None) -> NoReturn:
    try:
        if view is not None:
            view.enter(confine.for_libvirt)
        argv = ["libvirtd", "-f", "/etc/libvirt/libvirtd.conf", "-p", "/run/libvirt/libvirtd.pid"]
        become(argv, {**(confine.environment() if view else os.environ), "NOTIFY_SOCKET": protocol.NOTIFY})
    except BaseException as error:
        os.write(2, f"libvirtd can't be confined: {error}\n".encode())
    finally:
        os._exit(1)


def _name_servers() -> set[int]:
    """Process ids of the programs that answer guests for DHCP and names, as libvirt has written them down."""
    found = set()
    with contextlib.suppress(FileNotFoundError), os.scandir(_NETWORKS) as entries:
        for entry in entries:
            with contextlib.suppress(OSError, ValueError):
                found.add(int(protocol.read_pid(entry.path)))
    return found


def _reap() -> list[int]:
    ended = []
    with contextlib.suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            ended.append(pid)
    return ended


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            # There are no more descriptors just now, or the client is gone. Nobody else takes our place.
            time.sleep(_PAUSE)
            continue
        threading.Thread(target=_handle, args=(client,), daemon=True).start()


def _handle(client: socket.socket) -> None:
    with client:
        try:
            request = protocol.receive(client)
            if request["op"] == "stop":
                end(float(request["grace"]))
            if request["op"] == "kill":
                _kill(request["machine"])
                protocol.answer(client, {"ok": True})
                return
            if request["op"] != "connect":
                raise ValueError(f"unknown op {request['op']}")
            with reach(request["address"], request["port"], request["timeout"]) as guest:
                guest.settimeout(None)
                protocol.answer(client, {"ok": True}, guest)
        except (OSError, ValueError, KeyError) as error:
            with contextlib.suppress(OSError):
                protocol.answer(client, {"error": str(error)})


def _kill(machine: str) -> None:
    """Return when the QEMU of a machine has ended. Raises OSError if it has none."""
    pid = int(protocol.read_pid(f"/run/libvirt/qemu/{machine}.pid"))
    with pidfd(pid) as process:
        _send(signal.SIGKILL, [process], None)


def end(grace: float) -> NoReturn:
    """End everything; QEMUs get `grace` seconds to write out what they hold of their images.

    We end after them: as long as we listen and hold the lock, whoever finds us knows that images are in use.
    """
    watched = []
    for pid in [int(name) for name in os.listdir("/proc") if name.isdigit() and _is_qemu(name)]:
        with contextlib.suppress(ProcessLookupError):
            watched.append(os.pidfd_open(pid))
    _send(signal.SIGTERM, watched, grace)
    _send(signal.SIGKILL, watched, None)
    os._exit(0)


def _send(number: signal.Signals, processes: list[int], patience: float | None) -> None:
    """Send a signal to processes and wait, `patience` seconds or for ever, until they have ended."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, number)
    for left in within(patience):
        if not (alive := [process for process in processes if not wait_for_end(process, 0)]):
            return
        readable(alive, left)


def _is_qemu(pid: str) -> bool:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            return file.read().startswith("qemu-system")
    except OSError:
        return False
