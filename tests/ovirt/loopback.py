"""The engine's machine without a machine: the stand-in runs in this process, and is reached on the loopback address.

What would come over ssh, the engine's own file and name, is known; all else is as it is.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lago.hypervisor.accel import Accel
from lago.initfile import document, parse
from lago.paths import Paths
from lago.topology import state as files
from lago.topology.resolve import resolve
from lago.virt import VM
from ovirtlago.engine.contract import Identity
from ovirtlago.engine.machine import EngineVM
from ovirtlago.prefix import OvirtPrefix
from ovirtlago.virt import OvirtVirtEnv

from .engine_server.faults import Faults
from .engine_server.server import IMAGES, Engine, Server
from .engine_server.state import State, example

FQDN = "engine.example.com"
HOSTS = ("host0", "host1")
STORAGE = ("master", "nfs", "iscsi")


class LoopbackVM(EngineVM):
    """An engine at ports of the loopback address."""

    ports: dict[int, int]
    ca: str

    def connect(self, tries: int | None = None) -> None:
        """It is always there."""

    def dial(self, port: int) -> socket.socket:
        """A connection to what is there in place of a port."""
        return socket.create_connection(("127.0.0.1", self.ports.get(port, 1)), 5)

    def identity(self) -> Identity:
        """As its files would say."""
        return Identity(FQDN, self.ca)

    def wait_for_service(self, timeout: float) -> None:
        """It runs."""


class StandIn:
    """The stand-in and the machine that it is reached by."""

    def __init__(self, engine: Engine, vm: LoopbackVM) -> None:
        self.engine = engine
        self.vm = vm

    @property
    def faults(self) -> Faults:
        """What goes wrong."""
        return self.engine.state.faults

    @property
    def state(self) -> State:
        """What it knows."""
        return self.engine.state

    def statuses(self, kind: str) -> dict[str, str]:
        """Status by name."""
        with self.engine.lock:
            self.state.advance()
            return {one["name"]: one["status"] for one in self.state.of(kind).values()}

    def said(self, severity: str) -> list[str]:
        """Its events of a severity, oldest first."""
        return [one["description"] for one in self.state.data.get("events", []) if one["severity"] == severity]


def prefix_of(path: Path, domains: str) -> OvirtPrefix:
    """A prefix that was never started, with machines of an init file on one net."""
    path.mkdir(parents=True)
    path.joinpath("logs").mkdir()
    file = path / "LagoInitFile"
    file.write_text(f"domains:\n{domains}nets: {{lan: {{}}}}\n")
    topology = resolve(parse.parse(document.read(str(file))), uuid="6" * 32, templates={})
    files.save(Paths(str(path)), topology)
    path.joinpath("uuid").write_text("6" * 32)
    path.joinpath("initialized").touch()
    return OvirtPrefix(str(path))


def domain(name: str, more: str) -> str:
    """A machine of an init file."""
    return f"  {name}: {{disks: [{{type: empty, size: 1G, format: qcow2}}], nics: [{{net: lan}}], {more}}}\n"


def environment(path: Path, hosts: Sequence[str] = HOSTS, more: str = "", others: Sequence[str] = ()) -> OvirtVirtEnv:
    """An engine that is reached on the loopback address, hosts, and other machines, of which none runs."""
    machines = [domain("engine", f"vm-type: ovirt-engine, {more}")]
    machines += [domain(name, f"vm-type: ovirt-host, {more}") for name in hosts]
    machines += [domain(name, "") for name in others]
    prefix = prefix_of(path, "".join(machines))

    class Env(OvirtVirtEnv):
        def vm_class(self, spec: Any) -> type[VM]:
            found = super().vm_class(spec)
            return LoopbackVM if found is EngineVM else found

    env = Env(prefix, prefix.topology.domains, prefix.topology.nets)
    prefix.__dict__["virt_env"] = env
    env.__dict__["accel"] = Accel("kvm", "nothing is emulated here")
    return env


@contextlib.contextmanager
def stand_in(path: Path, certificates: Path, data: dict[str, Any] | None = None, **machines: Any) -> Iterator[StandIn]:
    """The stand-in in an `environment`, with two hosts and three storage domains unless `data` is something else."""
    env = environment(path / "prefix", **machines)
    directory = path / "engine"
    directory.mkdir()
    hosts = [(vm.name(), vm.ip()) for vm in env.host_vms()]
    directory.joinpath("state.json").write_text(json.dumps(data or example(hosts, list(STORAGE))))
    for name in ("ca.pem", "server.pem"):
        directory.joinpath(name).write_bytes(certificates.joinpath(name).read_bytes())
    engine = Engine(directory, FQDN, delay=0.05)
    servers = {port: Server(engine, ("127.0.0.1", 0)) for port in (443, IMAGES)}
    for server in servers.values():
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    vm = env.engine_vm()
    assert isinstance(vm, LoopbackVM)
    vm.ports = {port: server.server_address[1] for port, server in servers.items()}
    vm.ca = directory.joinpath("ca.pem").read_text()
    try:
        yield StandIn(engine, vm)
    finally:
        vm.disconnect()
        engine.over.set()
        for server in servers.values():
            server.shutdown()
            server.server_close()
