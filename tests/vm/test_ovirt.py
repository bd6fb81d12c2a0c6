"""`lago ovirt` with machines: a stand-in for an engine runs in a guest, over TLS, and services of guests come and go.

The tests are in an order: each goes on where the one before it ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from ovirtsdk4.types import LogSeverity

from lago import templates
from lago.errors import LagoError
from lago.host.parallel import in_parallel
from lago.templates import own
from lago.templates.build import mini as mini_recipe
from lago.virt import VM
from ovirtlago import OvirtPrefix
from ovirtlago.constants import HOST_SERVICES
from ovirtlago.virt import OvirtVirtEnv

from ..ovirt import pki
from ..ovirt.engine_server.state import example
from ..ovirt.loopback import FQDN
from .box import Box

OVIRT = Path(__file__).parents[1] / "ovirt"
PYTHON = ("libexpat1", "libpython3.11-minimal", "libpython3.11-stdlib", "libssl3", "python3.11-minimal")
NICS = "nics: [{net: lan}]"
INIT = f"""\
domains:
  engine:
    vm-type: ovirt-engine
    memory: 192
    vcpu: 1
    disks: [{{template_name: "%s"}}]
    service_provider: sysvinit
    {NICS}
  host0: {{vm-type: ovirt-host, memory: 128, vcpu: 1, disks: [{{template_name: mini}}], {NICS}}}
  host1: {{vm-type: ovirt-host, memory: 128, vcpu: 1, disks: [{{template_name: mini}}], {NICS}}}
nets: {{lan: {{}}}}
"""
UP = {"host0": "up", "host1": "up"}
START = ("supervdsmd start", "vdsmd start")
STOP = ("vdsmd stop", "supervdsmd stop")
ACTIVE = {"master": "active, master", "nfs": "active"}


@pytest.fixture(scope="module")
def python(store: Path, mini: Path) -> str:
    """A template: `mini` with Python."""
    base = mini_recipe.RECIPE
    wanted = replace(base, name="mini-python", packages=tuple(sorted({*base.packages, *PYTHON})))
    return own.ensure(templates.default_store(), wanted).split(":")[1]


@dataclass(frozen=True)
class Environment:
    """The environment that runs, and where commands are run in it."""

    box: Box
    prefix: OvirtPrefix

    @property
    def env(self) -> OvirtVirtEnv:
        """Its machines."""
        return self.prefix.virt_env

    def hosts(self) -> dict[str, str]:
        """What the engine says of its hosts."""
        return {name: host["engine"] for name, host in self.prefix.ovirt_status()["Hosts"].items()}

    def is_awake(self) -> None:
        """See that everything is up."""
        status = self.prefix.ovirt_status()
        assert {name: host["engine"] for name, host in status["Hosts"].items()} == UP
        assert status["Data centers"] == {"test-dc": {"status": "up", "storage": ACTIVE}}

    def services(self, commands: Sequence[str]) -> None:
        """See that services of hosts were started and stopped in an order since this was called last."""
        for host in self.env.host_vms():
            said = host.ssh("cat /var/log/vdsm/services.log; rm /var/log/vdsm/services.log", show_output=False)
            assert said.out.decode().splitlines() == list(commands), host.name()


@pytest.fixture(scope="module")
def ovirt(module_box: Box, python: str) -> Iterator[Environment]:
    """An engine that is not set up yet, and two hosts."""
    module_box.write(INIT % python)
    module_box.lago("init")
    done = module_box.lago("-f", "json", "ovirt", "start")
    assert done.out == "", "there is nothing to wake yet"
    made = Environment(module_box, OvirtPrefix(str(module_box.prefix)))
    _install(made)
    yield made
    made.env.close()


def _install(ovirt: Environment) -> None:
    place = ovirt.box.place
    state = place / "state"
    state.mkdir()
    pki.make(state, FQDN)
    hosts = [(vm.name(), vm.ip()) for vm in ovirt.env.host_vms()]
    state.joinpath("state.json").write_text(json.dumps(example(hosts, ["master", "nfs"])))
    server = "/usr/bin/python3.11 -m engine_server --directory /var/lib/ovirt-engine"
    ovirt.box.write(f"ovirt-engine: {server} --fqdn {FQDN}\n", "engine.services")
    ovirt.box.write("vdsmd: sleep 1000000\nsupervdsmd: sleep 1000000\n", "host.services")
    engine = ovirt.env.the_engine()

    def one(vm: VM) -> None:
        vm.copy_to(str(place / f"{'engine' if vm is engine else 'host'}.services"), "/etc/services.lago")
        vm.copy_to(str(OVIRT / "guest" / "service"), "/usr/sbin/service")

    in_parallel(one, ovirt.env.get_vms().values(), what="install services")
    engine.copy_to(str(OVIRT / "guest" / "engine-setup"), "/usr/sbin/engine-setup")
    engine.copy_to(str(OVIRT / "engine_server"), "/usr/lib/python3.11/engine_server")
    engine.ssh("mkdir -p /var/lib")
    engine.copy_to(str(state), "/var/lib/ovirt-engine")


@pytest.mark.slow
def test_an_engine_that_is_not_set_up_is_told(ovirt: Environment) -> None:
    assert "the engine on engine is not set up" in ovirt.prefix.ovirt_status()["Engine"]["api"]
    assert "hint: lago ovirt engine-setup" in ovirt.box.lago("ovirt", "stop-hosts", code=2).err


def test_d19_a_setup_that_fails_is_told(ovirt: Environment) -> None:
    ovirt.box.write("[environment:default]\n", "empty-answers")
    err = ovirt.box.lago("ovirt", "engine-setup", "--config", "empty-answers", code=2).err
    assert "lago: engine: engine-setup ended with status 3" in err
    assert "Failed to execute stage 'Environment customization'" in err
    with pytest.raises(LagoError, match="no-such is not there"):
        ovirt.env.the_engine().engine_setup("no-such")


def test_the_engine_is_set_up_by_a_file_of_answers_and_all_is_woken(ovirt: Environment) -> None:
    ovirt.box.write(f"[environment:default]\nOVESETUP_CONFIG/fqdn=str:{FQDN}\n", "answers")
    ovirt.box.lago("ovirt", "engine-setup", "--config", "answers")
    started = json.loads(ovirt.box.lago("-f", "json", "ovirt", "start").out)
    access = {"url": f"https://{FQDN}/ovirt-engine", "user": "admin@internal", "password": "123"}
    assert started == {"Engine": access}
    status = json.loads(ovirt.box.lago("-f", "json", "ovirt", "status").out)
    assert status["Engine"].pop("last event")
    assert status["Engine"] == {
        "name": "engine",
        "machine": "running",
        "api": "up",
        "version": "4.5.6-stand-in",
        **access,
    }
    assert status["Hosts"] == {name: {"machine": "running", "engine": "up"} for name in UP}
    ovirt.is_awake()
    ovirt.services(START)


def test_programs_reach_the_engine_too(ovirt: Environment) -> None:
    engine, place = ovirt.env.the_engine(), ovirt.box.place
    api = engine.get_api()
    assert [host.name for host in api.system_service().hosts_service().list()] == list(UP)
    image = place / "some.iso"
    image.write_bytes(bytes(range(256)) * 512)
    disk = engine.add_iso(str(image))
    engine.copy_from(f"/var/lib/ovirt-engine/image-{disk}", str(place / "back.iso"))
    assert place.joinpath("back.iso").read_bytes() == image.read_bytes()
    artifacts = place / "artifacts"
    artifacts.mkdir()
    engine.collect_artifacts(str(artifacts))
    assert "set up" in artifacts.joinpath("_var_log_ovirt-engine", "engine.log").read_text()


def test_a_snapshot_is_taken_at_rest_and_all_is_woken_in_reverse(ovirt: Environment) -> None:
    taken = json.loads(ovirt.box.lago("-f", "json", "ovirt", "snapshot", "clean").out)
    assert taken["name"] == "clean"
    ovirt.is_awake()
    ovirt.services([*STOP, *START])
    events = ovirt.env.the_engine().get_api().system_service().events_service().list()
    assert not [event.description for event in events if event.severity == LogSeverity.ERROR], "the order was right"


@pytest.mark.slow
def test_a_revert_wakes_what_was_held_at_rest(ovirt: Environment) -> None:
    ovirt.box.lago("ovirt", "stop-hosts", "host1")
    assert ovirt.hosts() == {"host0": "up", "host1": "maintenance"}
    ovirt.box.lago("ovirt", "revert", "clean")
    ovirt.is_awake()
    ovirt.services([*STOP, *START])


@pytest.mark.slow
def test_a_service_that_does_not_stop_is_told_and_all_is_woken(ovirt: Environment) -> None:
    host = ovirt.env.get_vm("host1")
    host.ssh("touch /run/supervdsmd.refuses")
    err = ovirt.box.lago("ovirt", "snapshot", "never", code=2).err
    assert "lago: host1: the service supervdsmd does not stop\n    supervdsmd: it refuses" in err
    host.ssh("rm /run/supervdsmd.refuses")
    ovirt.is_awake()
    for vm in ovirt.env.host_vms():
        assert [vm.service(name).alive() for name in HOST_SERVICES] == [True, True]
    assert list(ovirt.prefix.snapshots()) == ["clean"]


@pytest.mark.slow
def test_a_snapshot_may_leave_all_at_rest_until_a_start(ovirt: Environment) -> None:
    ovirt.box.lago("ovirt", "snapshot", "at-rest", "--no-restore")
    assert "engine does not answer" in ovirt.prefix.ovirt_status()["Engine"]["api"]
    for vm in ovirt.env.host_vms():
        assert [vm.service(name).alive() for name in HOST_SERVICES] == [False, False]
    ovirt.box.lago("ovirt", "start", "--with-vms")
    ovirt.is_awake()
    err = ovirt.box.lago("ovirt", "snapshot", "never", code=2).err
    assert "there are virtual machines that run: vm0\nhint: lago ovirt stop-vms" in err


@pytest.mark.slow
def test_a_stop_puts_all_to_rest_first(ovirt: Environment) -> None:
    ovirt.box.lago("ovirt", "stop")
    assert set(ovirt.box.states().values()) == {"down"}
    log = (ovirt.box.prefix / "logs" / "lago.log").read_text()
    log = log[log.rindex("Stop virtual machine vm0") :]
    steps = ("Stop virtual machine vm0", "Deactivate storage domain master", "Deactivate host host1", "Stop prefix")
    ends = [log.index(f"{step}: Success") for step in steps]
    assert ends == sorted(ends)


@pytest.mark.slow
def test_d19_a_stop_needs_no_live_engine(ovirt: Environment) -> None:
    ovirt.box.lago("start")
    err = ovirt.box.lago("ovirt", "stop").err
    assert "WARNING: the environment is not put to rest before it stops: engine does not answer" in err
    assert set(ovirt.box.states().values()) == {"down"}
