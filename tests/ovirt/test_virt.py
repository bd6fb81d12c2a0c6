"""Which machines an environment has, what they leave behind, and what oVirt calls their processors."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from lago import Prefix, plugins
from lago.errors import LagoError, VMError
from lago.sdk import Env
from lago.virt import VM
from ovirtlago import OvirtPrefix
from ovirtlago.engine import cpu
from ovirtlago.machines import machine_of
from ovirtlago.paths import OvirtPaths
from ovirtlago.virt import EngineVM, HostVM, NodeVM, OvirtVirtEnv, TestVM

from ..unit.conftest import Lago
from .loopback import StandIn, domain, environment, prefix_of

MACHINES = (
    domain("engine", "vm-type: ovirt-engine, artifacts: [/etc/own]")
    + domain("host0", "vm-type: ovirt-host")
    + domain("host1", "metadata: {ovirt-role: host}")
    + domain("node", "vm-type: ovirt-node")
    + domain("client", "memory: 128")
)


def test_machines_are_of_the_class_that_their_type_or_role_says(tmp_path: Path) -> None:
    prefix = prefix_of(tmp_path / "prefix", MACHINES)
    env = prefix.virt_env
    assert isinstance(env, OvirtVirtEnv)
    assert isinstance(prefix.paths, OvirtPaths)
    assert {name: type(vm) for name, vm in env.get_vms().items()} == {
        "engine": EngineVM,
        "host0": HostVM,
        "host1": HostVM,
        "node": NodeVM,
        "client": TestVM,
    }
    assert env.engine_vm() is env.get_vm("engine")
    assert [vm.name() for vm in env.host_vms()] == ["host0", "host1"]


def test_a_plain_prefix_has_the_types_too(tmp_path: Path) -> None:
    path = prefix_of(tmp_path / "prefix", MACHINES).paths.prefix()
    env = Prefix(path).virt_env
    assert isinstance(env.get_vm("engine"), EngineVM)
    assert type(env.get_vm("client")) is VM
    assert type(env.get_vm("host1")) is VM, "roles are oVirt's own"
    assert {"ovirt-engine", "ovirt-host", "ovirt-node"} <= set(plugins.load("vm"))


def test_a_role_of_engine_is_an_engine(tmp_path: Path) -> None:
    env = prefix_of(tmp_path / "prefix", domain("old", "metadata: {ovirt-role: engine}")).virt_env
    assert isinstance(env.engine_vm(), EngineVM)


def test_without_an_engine_there_is_none(tmp_path: Path) -> None:
    env = prefix_of(tmp_path / "prefix", domain("client", "memory: 128")).virt_env
    assert env.engine_vm() is None
    with pytest.raises(VMError, match="the environment has no engine"):
        env.the_engine()


def test_two_engines_are_named(tmp_path: Path) -> None:
    two = domain("first", "vm-type: ovirt-engine") + domain("second", "metadata: {ovirt-role: engine}")
    with pytest.raises(VMError, match="first and second are engines, and an environment has one"):
        _ = prefix_of(tmp_path / "prefix", two).virt_env


def test_a_role_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(VMError, match="vm: there is no ovirt-role hots") as caught:
        _ = prefix_of(tmp_path / "prefix", domain("vm", "metadata: {ovirt-role: hots}")).virt_env
    assert caught.value.hint == "did you mean host?"


def test_artifacts_are_those_of_the_init_file_and_of_the_kind(tmp_path: Path) -> None:
    env = prefix_of(tmp_path / "prefix", MACHINES).virt_env
    assert {name: vm.artifacts() for name, vm in env.get_vms().items()} == {
        "engine": ("/etc/own", "/var/log/ovirt-engine", "/var/log"),
        "host0": ("/var/log/vdsm", "/var/log"),
        "host1": ("/var/log/vdsm", "/var/log"),
        "node": (),
        "client": (),
    }


def test_machines_are_found_by_any_name(tmp_path: Path) -> None:
    env = environment(tmp_path / "prefix")
    machines = env.get_vms().values()
    host = env.get_vm("host1")
    for address in ("host1", "host1.example.com", host.ip()):
        assert machine_of(machines, address) is host
        assert machine_of(machines, None, address) is host
    assert machine_of(machines, "host2.example.com", "10.0.0.1") is None


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("Conroe", "Intel Conroe Family"),
        ("Haswell-noTSX", "Intel Haswell Family"),
        ("Skylake-Server-IBRS", "Intel Skylake Server Family"),
        ("Opteron_G5", "AMD Opteron G5"),
        ("EPYC", "AMD EPYC"),
    ],
)
def test_processors_have_the_names_that_ovirt_gives_them(tmp_path: Path, model: str, family: str) -> None:
    env = environment(tmp_path / "prefix", ["host0"], f"cpu_model: {model}")
    assert cpu.get_ovirt_cpu_family(env.get_vm("host0")) == family


def test_a_processor_that_is_not_named_has_no_family(tmp_path: Path) -> None:
    assert cpu.get_ovirt_cpu_family(environment(tmp_path / "prefix").get_vm("host0")) is None


def test_a_processor_that_is_not_in_the_table_is_told(tmp_path: Path) -> None:
    env = environment(tmp_path / "prefix", ["host0"], "cpu_model: EPYC-Rome")
    with pytest.raises(LagoError, match="does not say what oVirt calls the processor EPYC-Rome of AMD"):
        cpu.get_ovirt_cpu_family(env.get_vm("host0"))


def test_a_table_of_ones_own_is_used(tmp_path: Path) -> None:
    table = tmp_path / "table.yaml"
    env = environment(tmp_path / "prefix", ["host0"], f"cpu_model: EPYC-Rome, metadata: {{ovirt-cpu-map: {table}}}")
    host = env.get_vm("host0")
    with pytest.raises(LagoError, match=r"table.yaml can't be read: No such file"):
        cpu.get_ovirt_cpu_family(host)
    table.write_text("AMD: {EPYC-Rome: My Family}\n")
    assert cpu.get_ovirt_cpu_family(host) == "My Family"
    for text, why in (("Intel: [", "is no YAML"), ("- 1\n", "is no table"), ("AMD: 1\n", "does not say")):
        table.write_text(text)
        with pytest.raises(LagoError, match=why):
            cpu.get_ovirt_cpu_family(host)


def test_clusters_get_the_processors_of_their_hosts(engine: StandIn, tmp_path: Path) -> None:
    same = environment(tmp_path / "same", more="cpu_model: Haswell").get_vms().values()
    cpu.align(engine.vm, same)
    assert engine.state.of("clusters")["cluster"]["cpu"] == "Intel Haswell Family"
    updates = engine.said("normal")
    cpu.align(engine.vm, same)
    cpu.align(engine.vm, environment(tmp_path / "unnamed").get_vms().values())
    assert engine.said("normal") == updates


def test_the_command_is_there_and_says_what_it_does(lago: Lago) -> None:
    assert "ovirt               oVirt environments" in lago("--help")
    said = lago("ovirt", "--help")
    for command in (
        "start stop status snapshot revert engine-setup start-hosts stop-hosts start-vms stop-vms".split()  # noqa: SIM905
    ):
        assert f"\n    {command}" in said
        assert f"usage: lago ovirt {command}" in lago("ovirt", command, "--help")
    for wrong in ("0", "soon"):
        assert "expected a number above 0" in lago.both("ovirt", "start", "--vms-timeout", wrong, code=2)[1]


def test_d19_status_of_a_stopped_environment_does_not_wait(lago: Lago, tmp_path: Path) -> None:
    import json

    prefix = prefix_of(tmp_path / ".lago" / "default", MACHINES)
    tmp_path.joinpath(".lago", "current").symlink_to("default")
    assert isinstance(prefix, OvirtPrefix)
    out, err = lago.both("-f", "json", "ovirt", "status")
    assert err == ""
    assert json.loads(out) == {
        "Engine": {"name": "engine", "machine": "down"},
        "Hosts": {"host0": {"machine": "down"}, "host1": {"machine": "down"}},
    }


def test_commands_for_an_engine_that_is_down_say_so(lago: Lago, tmp_path: Path) -> None:
    prefix_of(tmp_path / ".lago" / "default", MACHINES)
    tmp_path.joinpath(".lago", "current").symlink_to("default")
    for command in ("start-hosts", "stop-hosts", "start-vms", "stop-vms", "engine-setup"):
        _, err = lago.both("ovirt", command, code=2)
        assert "lago: engine is not running, it is down\nhint: lago start engine" in err


def test_commands_without_an_engine_say_so(lago: Lago, tmp_path: Path) -> None:
    prefix_of(tmp_path / ".lago" / "default", domain("client", "memory: 128"))
    tmp_path.joinpath(".lago", "current").symlink_to("default")
    assert "lago: the environment has no engine" in lago.both("ovirt", "stop-hosts", code=2)[1]
    assert "Hosts" in lago("-f", "json", "ovirt", "status")


INIT = {"domains": {"vm": {"disks": [{"size": "1M"}], "nics": [{"net": "lan"}]}}, "nets": {"lan": {}}}


@pytest.mark.parametrize("snapshot", [None, "base"])
def test_a_fork_of_an_ovirt_environment_is_one(tmp_path: Path, snapshot: str | None) -> None:
    origin = OvirtPrefix.create(str(tmp_path / "origin"), INIT)
    origin.create_snapshots("base")
    fork = origin.fork(str(tmp_path / "fork"), snapshot)
    assert type(fork) is OvirtPrefix
    assert isinstance(fork.paths, OvirtPaths)
    assert isinstance(fork.virt_env, OvirtVirtEnv)
    assert isinstance(fork.fork(str(tmp_path / "second"), start=False), OvirtPrefix)
    # A program's environment forks into one of the same kind.
    env = Env(origin, None, None, logging.INFO, keep=True)
    assert type(env.fork(tmp_path / "third", snapshot, keep=True)._prefix) is OvirtPrefix
    assert type(Prefix(origin.paths.prefix()).fork(str(tmp_path / "plain"), snapshot)) is Prefix


def test_a_name_that_will_not_do_for_a_snapshot_puts_nothing_to_rest(tmp_path: Path) -> None:
    prefix = prefix_of(tmp_path / "prefix", MACHINES)
    with pytest.raises(LagoError, match="list can't be the name of a snapshot"):
        prefix.create_snapshots("list")
    assert not Path(prefix.paths.logs("lago.log")).exists()
