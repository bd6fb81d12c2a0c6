"""A libvirt of the prefix's own, in its own namespaces: needs no daemon, no rights, and leaves nothing behind.

    lago process --libvirt API--> <run>/libvirt-sock        supervisor, pid 1 of user + mount + network + pid namespace
                 --wire.call----> <run>/lago.sock             |- libvirtd -> bridges, dnsmasq, qemu
                 --nsenter------> programs inside             '- slirp4netns or pasta, in the host's network

Whether it is up is asked of the socket, never of a pid file: a socket nobody listens at is refused. Sockets may be gone
while it lives, as when the last session of a user ends. That is asked of its lock, and who lives then of the kernel.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Container, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from .. import config
from ..errors import CommandError, HostError, HypervisorError
from ..host import long_logs, trust, waiting
from ..host.beneath import not_a_link
from ..host.files import json_text, write_atomically
from ..host.locks import holders, lock_file, locked_text
from ..host.parallel import Closing
from ..log import LOG
from ..paths import Paths, check_place
from . import protocol, rundir
from .protocol import Passed

if TYPE_CHECKING:
    import socket

_START_TIMEOUT: Final = 90
_KILL_TIMEOUT: Final = 10.0
_LOCK_TIMEOUT: Final = 60
_WHAT: Final = "the private hypervisor"
_UNCONFINED: Final = "guests run as root of this host, with its files in view: %s (setting confine, lago doctor)"
_CODE: Final = (
    "import sys, json; sys.path.insert(0, sys.argv[1]); "
    "from lago.hypervisor.supervisor import main; main(json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))"
)


class Private:
    """The private hypervisor of one prefix."""

    shared = False
    local = True
    memory_dir = protocol.MEMORY_DIR
    carriers_dir = protocol.CARRIERS_DIR

    def __init__(self, uuid: str, paths: Paths) -> None:
        self._uuid = uuid
        self._paths = paths

    @cached_property
    def _run_dir(self) -> str:
        # A prefix that runs is where it was started, whatever the environment says today.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            recorded = str(json.loads(trust.read(self._paths.hypervisor()))["run_dir"])
            if rundir.belongs(recorded, self._uuid):
                return recorded
        return rundir.place(self._uuid)

    @property
    def _socket(self) -> str:
        return os.path.join(self._run_dir, protocol.SOCKET_NAME)

    @property
    def uri(self) -> str:
        from urllib.parse import quote

        return f"qemu+unix:///system?socket={quote(os.path.join(self._run_dir, protocol.LIBVIRT_SOCKET_NAME))}"

    @property
    def inner_uri(self) -> str:
        return f"qemu+unix:///system?socket={protocol.SOCKETS_DIR}/{protocol.LIBVIRT_SOCKET_NAME}"

    def socket_dir(self) -> str:
        return self._run_dir

    def pid(self) -> int | None:
        """Process id of the supervisor, as the host sees it."""
        try:
            with protocol.connect(self._socket) as client:
                pid, fd = protocol.peer(client)
        except OSError:
            return None
        os.close(fd)
        return pid

    def running(self) -> bool:
        return self.pid() is not None

    def lost(self) -> frozenset[str] | None:
        with contextlib.suppress(PermissionError):
            if locked_text(self._lock) == protocol.READY.decode().strip() and not self.running():
                for pid in self._supervisors():
                    return _machines(pid)
        return None

    @property
    def _lock(self) -> str:
        return self._paths.hypervisor_lock()

    def _supervisors(self) -> list[int]:
        """Processes that hold our lock as process 1 of a namespace; what made that holds it too, until it ends."""
        users = (os.geteuid(), os.stat(self._lock).st_uid)
        return [pid for pid in holders(self._lock) if _is_first(pid, users)]

    def refuse_lost(self) -> None:
        if self.lost() is not None:
            raise HypervisorError(
                "the environment runs, but its sockets are gone, so it can't be reached",
                details=f"they were in {self._run_dir}, which is removed when the last session of a user ends, unless "
                "`loginctl enable-linger` was said, or by a program that cleans up",
                hint="lago stop ends it, as by pulling the plug; then lago start",
            )

    def ensure(self, nameservers: Sequence[str], passed: Callable[[], Sequence[Passed]] = tuple) -> None:
        if self.running():
            return
        self.refuse_lost()
        # The supervisor inherits the lock, so that one that is about to end, or about to start, is waited for.
        with lock_file(self._lock, what=_WHAT, timeout=_LOCK_TIMEOUT) as lock:
            if not self.running():
                self._start(nameservers, passed, lock)

    def _start(self, nameservers: Sequence[str], passed: Callable[[], Sequence[Passed]], lock: int) -> None:
        from . import checks, egress

        rundir.remove(self._run_dir, self._uuid)
        self._make_run_dir()
        log_path = self._paths.logs("hypervisor.log")
        cache_dir = os.path.join(config.cache_home(), "libvirt-qemu")
        qemu_log_dir = self._paths.logs("qemu")
        tpm = {"state": self._paths.tpm("state"), "ca": self._paths.tpm("ca"), "log": self._paths.tpm_log()}
        for directory in (cache_dir, qemu_log_dir, *tpm.values()):
            os.makedirs(directory, exist_ok=True)
        settings = {
            "run_dir": self._run_dir,
            "cache_dir": cache_dir,
            "qemu_log_dir": qemu_log_dir,
            "tpm": tpm,
            "logs": [self._paths.logs(), qemu_log_dir],
            "log_limit": config.get("log_limit") << 20,
            "egress": egress.sandboxed(egress.argv()),
            "closed": egress.closed(),
            "egress_log": self._paths.logs("egress.log"),
            "nameservers": list(nameservers),
            "confine": self._confine(passed) if _wants_to_confine() else None,
        }
        checks.require_libvirt()
        if os.geteuid() != 0:
            checks.require()
        self._launch(settings, log_path, lock)

    def _confine(self, passed: Callable[[], Sequence[Passed]]) -> dict[str, Any] | None:
        from . import checks, ids

        must = config.get("confine") == "yes"
        try:
            first = ids.block(self._uuid)
        except HostError as error:
            if must:
                raise
            LOG.warning(_UNCONFINED, error.what)
            return None
        own = [self._paths.images(), self._paths.snapshots(), self._paths.logs()]
        for directory in own:
            os.makedirs(directory, exist_ok=True)
        return {
            "first": first,
            "count": ids.COUNT,
            "must": must,
            "programs": checks.places_of_programs(),
            "own": own,
            "passed": [tuple(one) for one in passed()],
        }

    def _make_run_dir(self) -> None:
        self._run_dir = rundir.place(self._uuid)
        check_place(self._run_dir, "set XDG_RUNTIME_DIR to another directory")
        rundir.make(self._run_dir)
        longest = os.path.join(self._run_dir, "libvirt-sock-ro.control")
        if len(longest) > 107:
            raise HypervisorError(
                f"{self._run_dir} is too long a path for sockets",
                hint="set XDG_RUNTIME_DIR to a directory with a shorter name",
            )
        write_atomically(self._paths.hypervisor(), json_text({"run_dir": self._run_dir}))

    def _launch(self, settings: dict[str, Any], log_path: str, lock: int) -> None:
        from ..host.programs import spawn
        from .checks import namespace_argv

        source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        read, write = os.pipe()
        program = [sys.executable, "-I", "-S", "-c", _CODE, source, json.dumps(settings), str(write), str(lock)]
        # setsid --fork: neither a child of ours to wait for, nor in the terminal's process group.
        argv = ["setsid", "--fork", *namespace_argv(), "--kill-child", *program]
        try:
            with open(log_path, "ab", opener=not_a_link) as log:
                began = log.tell()
                with spawn(argv, stdout=log, stderr=log, pass_fds=[write, lock], cwd="/") as parent:
                    if code := parent.wait():
                        raise CommandError(argv, code)
            os.close(write)
            write = -1
            ready = waiting.readable([read], _START_TIMEOUT)
            data = os.read(read, 4096) if ready else b""
        finally:
            for fd in (read, write):
                if fd >= 0:
                    os.close(fd)
        answer = (
            json.loads(data) if data else {"error": "it ended at once" if ready else f"not ready in {_START_TIMEOUT} s"}
        )
        if "ok" not in answer:
            rundir.remove(self._run_dir, self._uuid)
            raise self._explain(answer, log_path, began)
        if answer["unconfined"]:
            LOG.warning(_UNCONFINED, answer["unconfined"])
        if answer["no_way_out"]:
            LOG.warning("guests can't reach the outside: %s (egress.log)", answer["no_way_out"])

    def _explain(self, answer: dict[str, Any], log_path: str, began: int) -> Exception:
        from .checks import explain_namespaces

        with open(log_path, "rb", opener=not_a_link) as log:
            log.seek(began)
            said = log.read(long_logs.MOST).decode(errors="replace")
        if said.startswith(("unshare:", "newuidmap:", "newgidmap:")):
            return explain_namespaces(said)
        if answer.get("must"):
            return HostError(f"guests can't be confined: {answer['error']}", hint="lago doctor; or set confine to auto")
        if answer.get("refused"):
            return explain_namespaces(answer["error"])
        return HypervisorError(
            f"the private hypervisor did not start: {answer['error']}",
            details=said,
            hint=f"lago doctor; the whole log is {log_path}",
        )

    def end(self, grace: float) -> None:
        if not self._end_reached(grace):
            self._end_lost(grace)
        if os.path.exists(self._lock):
            # Whoever has it uses images, be it one that we can't see.
            with lock_file(self._lock, what=_WHAT, timeout=_LOCK_TIMEOUT):
                rundir.remove(self._run_dir, self._uuid)

    def _end_reached(self, grace: float) -> bool:
        try:
            with protocol.connect(self._socket) as client, _Process(protocol.peer(client)[1]) as process:
                with contextlib.suppress(OSError):
                    client.sendall(json.dumps({"op": "stop", "grace": grace}).encode() + b"\n")
                process.wait(grace + 30)
        except OSError:
            return False
        return True

    def _end_lost(self, grace: float) -> None:
        if not os.path.exists(self._lock):
            return
        for pid in self._supervisors():
            with contextlib.suppress(ProcessLookupError), _Process(os.pidfd_open(pid)) as process:
                # Now that its number can't become another's.
                if pid in self._supervisors():
                    LOG.warning("the sockets of the private hypervisor are gone; process %d is ended by a signal", pid)
                    process.send(signal.SIGTERM)
                    process.wait(grace + 30)

    def kill(self, machine: str) -> None:
        with contextlib.suppress(OSError):
            answer, _ = protocol.call(self._socket, {"op": "kill", "machine": machine}, _KILL_TIMEOUT)
            LOG.debug("%s: kill: %s", machine, answer)

    def process(self, machine: str) -> int | None:
        supervisor = self._up()
        try:
            inside = protocol.read_pid(f"/proc/{supervisor}/root/run/libvirt/qemu/{machine}.pid")
            with open(f"/proc/{supervisor}/task/{supervisor}/children", encoding="ascii") as file:
                below = file.read().split()
        except OSError:
            return None
        # All that is in its namespace is below it, and what libvirtd starts and leaves alone is so at once.
        return next((int(pid) for pid in below if _numbers(int(pid))[1:][-1:] == [inside]), None)

    def connect(self, address: str, port: int, timeout: float) -> socket.socket:
        request = {"op": "connect", "address": address, "port": port, "timeout": timeout}
        answer, guest = protocol.call(self._socket, request, timeout + 5)
        if guest is None:
            raise ConnectionError(answer.get("error", "no connection"))
        return guest

    def path_from_outside(self, path: str) -> str:
        return f"/proc/{self._up()}/root{path}"

    def give(self, path: str) -> None:
        owner = os.stat(self.path_from_outside(protocol.MEMORY_DIR))
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)

    def _up(self) -> int:
        pid = self.pid()
        if pid is None:
            self.refuse_lost()
            raise HypervisorError("the environment is not running", hint="lago start")
        return pid

    def command(self, argv: Sequence[str]) -> list[str]:
        pid = self._up()
        users = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return [
            "nsenter",
            f"--target={pid}",
            *users,
            "--mount",
            "--net",
            "--pid",
            *_there(os.getcwd(), argv),
        ]


def _wants_to_confine() -> bool:
    """Whether there are rights to give up, and they shall be given up. An ordinary user has none but his own."""
    return os.geteuid() == 0 and config.get("confine") != "no"


def _there(directory: str, argv: Sequence[str]) -> list[str]:
    """Command line of `argv` in a directory; `env --chdir` would take a program with = in its path for a variable."""
    return ["sh", "-c", 'cd -- "$1" && shift && exec "$@"', "sh", directory, *argv]


class _Process(Closing):
    """A process that is not our child, by its pidfd, waited for without polling."""

    def __init__(self, pidfd: int) -> None:
        self._fd = pidfd

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._fd, number)

    def wait(self, timeout: float) -> None:
        """Return when it has ended; it is killed if that takes more than `timeout` seconds."""
        if not waiting.wait_for_end(self._fd, timeout):
            LOG.warning("the private hypervisor did not end within %g s and is killed", timeout)
            self.send(signal.SIGKILL)
            waiting.wait_for_end(self._fd, timeout)

    def close(self) -> None:
        os.close(self._fd)


def _is_first(pid: int, users: Container[int]) -> bool:
    """Whether a process of one of these users is process 1 of a pid namespace below ours. Source: proc(5), NSpid."""
    try:
        if os.stat(f"/proc/{pid}").st_uid not in users:
            return False
    except OSError:
        return False
    return _numbers(pid)[1:][-1:] == ["1"]


def _numbers(pid: int) -> list[str]:
    """The numbers of a process in the pid namespaces that it is in, ours first; none if it has ended."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            return next((line.split()[1:] for line in file if line.startswith("NSpid:")), [])
    except OSError:
        return []


def _machines(pid: int) -> frozenset[str]:
    """Names of the machines that run under a supervisor, as libvirt writes them down in its view of files."""
    try:
        names = os.listdir(f"/proc/{pid}/root/run/libvirt/qemu")
    except OSError:
        names = []
    return frozenset(name.removesuffix(".pid") for name in names if name.endswith(".pid"))
