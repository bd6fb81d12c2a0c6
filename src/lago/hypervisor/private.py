"""A libvirt of the prefix's own, in its own namespaces: needs no daemon, no rights, and leaves nothing behind.

    lago process --libvirt API--> <run>/libvirt-sock        supervisor, pid 1 of user + mount + network + pid namespace
                 --wire.call----> <run>/lago.sock             |- libvirtd -> bridges, dnsmasq, qemu
                 --nsenter------> programs inside             '- slirp4netns or pasta, in the host's network

Whether it is up is asked of the socket, never of a pid file: a socket nobody listens at is refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

from .. import config
from ..errors import HostError, HypervisorError
from ..log import LOG
from ..paths import Paths
from ..utils import json_text, lock_file, package_hint, write_atomically
from . import checks, egress, wire

_START_TIMEOUT: Final = 90
_KILL_TIMEOUT: Final = 10.0
_CODE: Final = (
    "import sys, json; sys.path.insert(0, sys.argv[1]); "
    "from lago.hypervisor.supervisor import main; main(json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))"
)


class Private:
    """The private hypervisor of one prefix."""

    shared = False
    local = True
    memory_dir = wire.MEMORY_DIR

    def __init__(self, uuid: str, paths: Paths) -> None:
        self._uuid = uuid
        self._paths = paths

    @cached_property
    def _run_dir(self) -> str:
        # A prefix that runs is where it was started, whatever the environment says today.
        with (
            contextlib.suppress(OSError, ValueError, KeyError),
            open(self._paths.hypervisor(), encoding="utf-8") as file,
        ):
            recorded = str(json.load(file)["run_dir"])
            if os.path.isdir(recorded):
                return recorded
        return self._default_run_dir()

    def _default_run_dir(self) -> str:
        return os.path.join(wire.runtime_base(), self._uuid[:12])

    @property
    def _socket(self) -> str:
        return os.path.join(self._run_dir, wire.SOCKET_NAME)

    @property
    def uri(self) -> str:
        return f"qemu+unix:///system?socket={os.path.join(self._run_dir, wire.LIBVIRT_SOCKET_NAME)}"

    def socket_dir(self) -> str:
        return self._run_dir

    def pid(self) -> int | None:
        """Process id of the supervisor, as the host sees it."""
        try:
            with wire.connect(self._socket) as client:
                return wire.peer_pid(client)
        except OSError:
            return None

    def running(self) -> bool:
        return self.pid() is not None

    def ensure(self, nameservers: Sequence[str]) -> None:
        if self.running():
            return
        # The supervisor inherits the lock, so that one that is about to end, or about to start, is waited for.
        with lock_file(self._paths.hypervisor_lock(), what="the private hypervisor", timeout=60) as lock:
            if not self.running():
                self._start(nameservers, lock)

    def _start(self, nameservers: Sequence[str], lock: int) -> None:
        self._clear()
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
            "egress": egress.argv(),
            "nameservers": list(nameservers),
        }
        if os.geteuid() != 0:
            checks.require()
        self._launch(settings, log_path, lock)

    def _make_run_dir(self) -> None:
        self._run_dir = self._default_run_dir()
        base = os.path.dirname(self._run_dir)
        os.makedirs(base, mode=0o700, exist_ok=True)
        found = os.lstat(base)
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise HypervisorError(
                f"{base} belongs to another user, or others may write to it",
                hint=f"remove it, or set XDG_RUNTIME_DIR to a directory of yours: rm -r {base}",
            )
        os.makedirs(self._run_dir, mode=0o700, exist_ok=True)
        longest = os.path.join(self._run_dir, "libvirt-sock-ro.control")
        if len(longest) > 107:
            raise HypervisorError(
                f"{self._run_dir} is too long a path for sockets",
                hint="set XDG_RUNTIME_DIR to a directory with a shorter name",
            )
        write_atomically(self._paths.hypervisor(), json_text({"run_dir": self._run_dir}))

    def _launch(self, settings: dict[str, Any], log_path: str, lock: int) -> None:
        source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        read, write = os.pipe()
        program = [sys.executable, "-I", "-S", "-c", _CODE, source, json.dumps(settings), str(write), str(lock)]
        # setsid --fork: neither a child of ours to wait for, nor in the terminal's process group.
        argv = ["setsid", "--fork", *checks.namespace_argv(), "--kill-child", *program]
        LOG.debug("start hypervisor: %s", argv)
        try:
            with open(log_path, "ab") as log:
                began = log.tell()
                subprocess.run(
                    argv, check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[write, lock], cwd="/"
                )
            os.close(write)
            write = -1
            ready, _, _ = select.select([read], [], [], _START_TIMEOUT)
            data = os.read(read, 4096) if ready else b""
        finally:
            for fd in (read, write):
                if fd >= 0:
                    os.close(fd)
        answer = (
            json.loads(data) if data else {"error": "it ended at once" if ready else f"not ready in {_START_TIMEOUT} s"}
        )
        if "ok" not in answer:
            self._clear()
            raise self._explain(answer["error"], log_path, began)

    def _explain(self, error: str, log_path: str, began: int) -> Exception:
        with open(log_path, "rb") as log:
            log.seek(began)
            said = log.read().decode(errors="replace")
        if checks.which("libvirtd") is None:
            return HostError("the program libvirtd is not installed", hint=package_hint("libvirtd"))
        if said.startswith("unshare:"):
            return checks.explain_namespaces(said)
        return HypervisorError(
            f"the private hypervisor did not start: {error}",
            details=said,
            hint=f"lago doctor; the whole log is {log_path}",
        )

    def end(self, grace: float) -> None:
        try:
            client = wire.connect(self._socket)
        except OSError:
            self._clear()
            return
        with client, contextlib.closing(_Process(wire.peer_pid(client))) as process:
            with contextlib.suppress(OSError):
                client.sendall(json.dumps({"op": "stop", "grace": grace}).encode() + b"\n")
            process.wait(grace + 30)
        self._clear()

    def _clear(self) -> None:
        shutil.rmtree(self._run_dir, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(self._run_dir))

    def kill(self, machine: str) -> None:
        with contextlib.suppress(OSError):
            answer, _ = wire.call(self._socket, {"op": "kill", "machine": machine}, _KILL_TIMEOUT)
            LOG.debug("%s: kill: %s", machine, answer)

    def connect(self, address: str, port: int, timeout: float) -> socket.socket:
        request = {"op": "connect", "address": address, "port": port, "timeout": timeout}
        answer, guest = wire.call(self._socket, request, timeout + 5)
        if guest is None:
            raise ConnectionError(answer.get("error", "no connection"))
        return guest

    def reached(self, path: str) -> str:
        return f"/proc/{self._up()}/root{path}"

    def _up(self) -> int:
        pid = self.pid()
        if pid is None:
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
            "env",
            f"--chdir={os.getcwd()}",
            *argv,
        ]


class _Process:
    """A process that is not our child, waited for without polling."""

    def __init__(self, pid: int) -> None:
        self._fd = os.pidfd_open(pid)

    def wait(self, timeout: float) -> None:
        ended, _, _ = select.select([self._fd], [], [], timeout)
        if not ended:
            LOG.warning("the private hypervisor did not end within %g s and is killed", timeout)
            import signal

            signal.pidfd_send_signal(self._fd, signal.SIGKILL)
            select.select([self._fd], [], [], timeout)

    def close(self) -> None:
        os.close(self._fd)
