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
from typing import Any, Final, NoReturn

from ..constants import PROGRAMS_OF_ROOT
from ..host import long_logs
from ..host.waiting import pidfd, readable, wait_for_end, within
from . import firewall, namespace, protocol
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
_NOTIFY: Final = f"{protocol.OWN_DIR}/notify"
_AGAIN: Final = 0.01
_LOOK: Final = 10.0
"""Seconds after which the sizes of logs are looked at."""

_PAUSE: Final = 0.1
_START_TIMEOUT: Final = 60
_TPM_CA: Final = "/var/lib/swtpm-localca"
_TPM_LOG: Final = "/var/log/swtpm/libvirt/qemu"


def main(settings: dict[str, Any], ready_fd: int, lock_fd: int) -> NoReturn:
    """Set everything up, say so on `ready_fd`, and serve until told to end; `lock_fd` is held as long as we live.

    Settings: `run_dir`, `cache_dir` (kept between runs), `qemu_log_dir`, `logs` (directories of logs that may take
    `log_limit` bytes each), `tpm` (directories `state`, `ca` and `log`), `egress` (argv or none), `egress_log`,
    `closed` (what guests do not reach outside), `nameservers`. What is said has `no_way_out`: why guests have none.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    # dnsmasq, which is nobody in here, reads what libvirtd writes, whatever the user keeps from others.
    os.umask(0o022)
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:{PROGRAMS_OF_ROOT}"
    for fd in (ready_fd, lock_fd):
        os.set_inheritable(fd, False)
    try:
        # Some of ours are below what is covered.
        logs = [os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) for path in settings["logs"]]
        way_out = _set_up(settings)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(os.path.join(settings["run_dir"], protocol.SOCKET_NAME))
        listener.listen(64)
        libvirtd = _start_libvirtd(settings["closed"])
        told = {"ok": True, "no_way_out": way_out.failure() if way_out else ""}
    except Exception as error:
        import traceback

        traceback.print_exc()
        refused = isinstance(error, OSError) and error.errno in _REFUSALS
        text = str(error.strerror if isinstance(error, OSError) and refused else f"{type(error).__name__}: {error}")
        os.write(ready_fd, json.dumps({"error": text, "refused": refused}).encode())
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
        for pid in _reap():
            if pid == libvirtd:
                print("libvirtd ended, and everything with it", file=sys.stderr, flush=True)
                os._exit(1)
            if way_out and pid == way_out.pid:
                print("the way out of guests ended; what it said is in egress.log", file=sys.stderr, flush=True)


def _set_up(settings: dict[str, Any]) -> WayOut | None:
    way_out = WayOut(settings["egress"], settings["egress_log"]) if settings["egress"] else None
    namespace.new_network()
    namespace.own_run()
    for directory in ("/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt", "/etc/libvirt"):
        namespace.cover(directory)
    os.makedirs("/etc/libvirt/qemu/networks")
    namespace.make_memory_dir()
    for ours, theirs in (
        # Not every path can be written into a configuration file of libvirt's.
        (settings["run_dir"], protocol.SOCKETS_DIR),
        (settings["cache_dir"], "/var/cache/libvirt/qemu"),
        (settings["qemu_log_dir"], "/var/log/libvirt/qemu"),
        (settings["tpm"]["state"], "/var/lib/libvirt/swtpm"),
    ):
        os.mkdir(theirs)
        namespace.bind(ours, theirs)
    # The host has this only with swtpm, which would make its authority there, for all environments.
    if os.path.isdir(_TPM_CA):
        namespace.bind(settings["tpm"]["ca"], _TPM_CA)
        namespace.cover("/var/log/swtpm")
        os.makedirs(_TPM_LOG)
        namespace.bind(settings["tpm"]["log"], _TPM_LOG)
    namespace.add_users(("libvirt-qemu", "qemu"))
    namespace.replace_file("/etc/resolv.conf", "".join(f"nameserver {a}\n" for a in settings["nameservers"]))
    if way_out is not None:
        way_out.go()
    return way_out


def _start_libvirtd(closed: list[str]) -> int:
    with open("/etc/libvirt/qemu.conf", "w", encoding="utf-8") as file:
        file.write(_QEMU_CONF)
    with open("/etc/libvirt/libvirtd.conf", "w", encoding="utf-8") as file:
        file.write(
            f'unix_sock_dir = "{protocol.SOCKETS_DIR}"\nunix_sock_rw_perms = "0700"\nunix_sock_ro_perms = "0700"\n'
            'auth_unix_rw = "none"\nauth_unix_ro = "none"\nlog_outputs = "3:stderr"\n'
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(_NOTIFY)
        pid = os.fork()
        if pid == 0:
            argv = ["libvirtd", "-f", "/etc/libvirt/libvirtd.conf", "-p", "/run/libvirt/libvirtd.pid"]
            become(argv, {**os.environ, "NOTIFY_SOCKET": _NOTIFY})
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
    with open(f"/run/libvirt/qemu/{machine}.pid", encoding="ascii") as file:
        pid = int(file.read())
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
