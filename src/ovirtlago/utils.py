"""Programs of oVirt environments, and the server of packages for machines."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from lago import Prefix, utils
from lago.errors import HypervisorError, LagoError
from lago.host.programs import PIPE, Process, spawn
from lago.host.waiting import readable
from lago.hypervisor import Hypervisor
from lago.utils import CommandStatus

from .constants import LIBEXEC_DIR, REPO_SERVER_PORT
from .paths import OvirtPaths

_START_TIMEOUT: Final = 60
_GRACE: Final = 10


def run_command(
    command: Sequence[str], input_data: str | bytes | None = None, env: Mapping[str, str] | None = None, **kwargs: Any
) -> CommandStatus:
    """Run a command as `lago.utils.run_command` does; programs are looked for in `constants.LIBEXEC_DIR` first."""
    environment = dict(os.environ if env is None else env)
    environment["PATH"] = os.pathsep.join([LIBEXEC_DIR, environment.get("PATH", os.defpath)])
    return utils.run_command(command, input_data, env=environment, **kwargs)


class ServedAlready(HypervisorError):
    """Another Lago serves the packages of this environment."""


class RepoServer:
    """The server of packages of an environment, while it runs.

    Attributes:
        url: its address, as the machines reach it.
        repositories: address by name of the repositories that there were when it started.
    """

    def __init__(self, process: Process, url: str, root: str) -> None:
        self._process = process
        self.url = url
        self.repositories = {name: f"{url}{name}/" for name in sorted(os.listdir(root)) if not name.startswith(".")}

    def repo_file(self, name: str) -> str:
        """Text that machines write into a file of `/etc/yum.repos.d` to install from a repository."""
        return f"[{name}]\nname={name}\nbaseurl={self.repositories[name]}\nenabled=1\ngpgcheck=0\n"

    def wait(self) -> None:
        """Return when it has ended by itself, since the environment did."""
        self._process.wait()


@contextlib.contextmanager
def repo_server_context(prefix: Prefix) -> Iterator[RepoServer]:
    """Context manager: `internal_repo` of a prefix is served to its machines, on the gateway of the management net.

    It is a process of its own, which ends with us in whatever way we do, and with the environment.

    Raises:
        LagoError: the management net has no gateway on this host.
        ServedAlready: its port is in use.
        HypervisorError: the environment does not run.
    """
    hypervisor = prefix.hypervisor
    address = _gateway(prefix)
    root = OvirtPaths(prefix.paths.prefix()).internal_repo()
    os.makedirs(root, exist_ok=True)
    with _process(hypervisor, address, root, prefix.paths.logs("repo-server.log")) as process:
        yield RepoServer(process, f"http://{address}:{REPO_SERVER_PORT}/", root)


def _gateway(prefix: Prefix) -> str:
    net = next(net for net in prefix.topology.nets.values() if net.management)
    if not prefix.hypervisor.local:
        raise LagoError(
            "packages can't be served to machines that run on another host",
            hint="serve them there: any web server for the directory internal_repo will do",
        )
    if net.gw is None:
        raise LagoError(
            f"the net {net.name} is a bridge without a gateway on this host, where packages would be served",
            hint="make a nat net the management net",
        )
    return net.gw


@contextlib.contextmanager
def _process(hypervisor: Hypervisor, address: str, root: str, log: str) -> Iterator[Process]:
    words = [
        sys.executable,
        "-I",
        "-m",
        "ovirtlago.packages.server",
        address,
        str(REPO_SERVER_PORT),
        os.path.abspath(root),
    ]
    argv = hypervisor.command(words)
    with (
        open(log, "ab") as errors,
        # In a session of its own, since Ctrl-C is for us, who end it by the end of its input.
        spawn(argv, stdin=PIPE, stdout=PIPE, stderr=errors, ask=None, grace=_GRACE, start_new_session=True) as process,
    ):
        _wait_until_served(process, address, log)
        yield process


def _wait_until_served(process: Process, address: str, log: str) -> None:
    assert process.stdout
    ready = readable([process.stdout.fileno()], _START_TIMEOUT)
    line = process.stdout.readline() if ready else b""
    answer = (
        json.loads(line) if line else {"error": "it ended at once" if ready else f"not ready in {_START_TIMEOUT} s"}
    )
    if "ok" in answer:
        return
    what = f"packages can't be served at {address} port {REPO_SERVER_PORT}: {answer['error']}"
    if answer.get("errno") == errno.EADDRINUSE:
        raise ServedAlready(what, hint="packages are served already, by another lago ovirt: one at a time")
    down = answer.get("errno") == errno.EADDRNOTAVAIL
    raise HypervisorError(what, hint="the net is not up: lago start" if down else f"its log is {log}")
