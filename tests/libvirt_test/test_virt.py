"""Machines and networks on libvirt's own test driver: real libvirt, no guests."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import libvirt
import pytest

from lago.errors import Errors, HypervisorError, LagoError, VMNotFound, VMNotRunning
from lago.hypervisor import Hypervisor
from lago.hypervisor.shared import Shared
from lago.paths import Paths
from lago.topology.address import Address
from lago.topology.model import Domain, Net, Nic, Topology
from lago.virt import VM, VirtEnv, readiness
from lago.virt.connection import look_up

UUID = "0123456789abcdef0123456789abcdef"
GOLDEN = Path(__file__).parents[1] / "golden" / "xml"


class Home:
    """A prefix, as far as `VirtEnv` needs one."""

    def __init__(self, place: Path, uri: str) -> None:
        self.paths = Paths(str(place))
        self.libvirt_uuid = UUID
        self.hypervisor: Hypervisor = Shared(uri, UUID)
        self.topology = Topology(domains={}, nets={})

    def create_snapshots(self, name: str, *, vms: Iterable[str] = ()) -> None:
        """Nobody takes one."""

    def revert_snapshots(self, name: str, *, vms: Iterable[str] = ()) -> None:
        """Nobody goes back."""

    def resume(self) -> None:
        """Nobody stands paused."""

    def fault(self, kind: str, *targets: str, **settings: object) -> Any:
        """Nobody breaks anything."""
        raise NotImplementedError(kind)


def machine(name: str, *nets: str) -> Domain:
    """A machine that is on no management net, so that nobody waits for it to answer."""
    nics = tuple(Nic(index=i, net=net, mac=f"54:52:c0:a8:c8:0{i}", ip=None) for i, net in enumerate(nets))
    return Domain(name=name, memory=128, vcpu=1, nics=nics, disks=(), mgmt_net=None)


def network(name: str, octet: int) -> Net:
    gw = Address(f"192.168.{octet}.1")
    return Net(name=name, type="nat", management=octet == 200, gw=gw, dhcp=None, mapping={"x": f"192.168.{octet}.2"})


@pytest.fixture(scope="module")
def connection() -> Iterator[libvirt.virConnect]:
    """A connection that keeps the driver's objects alive."""
    from lago.virt import lifecycle

    lifecycle.start_loop()
    opened = libvirt.open("test:///default")
    yield opened
    opened.close()


@pytest.fixture
def env(connection: libvirt.virConnect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtEnv]:
    """Two machines and three nets; `app` is on two of them."""
    monkeypatch.setenv("LAGO_ACCEL", "tcg")
    (tmp_path / "logs").mkdir()
    (tmp_path / "id_rsa.pub").write_text("ssh-ed25519 AAAA lago\n")
    vms = {"web": machine("web", "front"), "app": machine("app", "front", "back")}
    nets = {"front": network("front", 200), "back": network("back", 201), "spare": network("spare", 202)}
    made = VirtEnv(Home(tmp_path, "test:///default"), vms, nets)
    yield made
    made.stop()
    made.close()
    left = [one.name() for one in (*connection.listAllDomains(), *connection.listAllNetworks())]
    assert sorted(left) == ["default", "test"]


def test_what_was_never_started_is_down(env: VirtEnv) -> None:
    assert env.states() == {"web": "down", "app": "down"}
    assert env.nets_up() == set()
    assert not env.get_vm("web").alive()
    assert env.get_vm("web").state() == "down"
    assert not env.get_net("front").alive()


def test_a_net_starts_and_stops_however_often_it_is_told(env: VirtEnv) -> None:
    net = env.get_net("front")
    for _ in range(2):
        net.start()
        assert net.alive()
        assert env.nets_up() == {"front"}
    for _ in range(2):
        net.stop()
        assert not net.alive()
        assert env.nets_up() == set()


def test_a_net_that_was_only_defined_is_started(env: VirtEnv, connection: libvirt.virConnect) -> None:
    net = env.get_net("front")
    net.start()
    connection.networkLookupByName(net.libvirt_name()).destroy()
    assert not net.alive()
    net.start()
    assert net.alive()


def test_firmware_speaks_on_a_serial_console_that_is_logged(env: VirtEnv, connection: libvirt.virConnect) -> None:
    vm = env.get_vm("web")
    env.get_net("front").start()
    vm.start()
    root = ElementTree.fromstring(connection.lookupByName(vm.libvirt_name()).XMLDesc())
    bios, log = root.find("os/bios"), root.find("devices/serial/log")
    assert bios is not None
    assert log is not None
    assert bios.get("useserial") == "yes"
    assert str(log.get("file")).endswith("/logs/web.console.log")


def test_a_machine_starts_and_stops_however_often_it_is_told(env: VirtEnv, connection: libvirt.virConnect) -> None:
    vm = env.get_vm("web")
    env.get_net("front").start()
    for _ in range(2):
        vm.start()
        assert vm.alive()
        assert env.states()["web"] == vm.state() == "running"
    identity = connection.lookupByName(vm.libvirt_name()).UUIDString()
    for _ in range(2):
        vm.stop()
        assert env.states()["web"] == vm.state() == "down"
    vm.start()
    assert connection.lookupByName(vm.libvirt_name()).UUIDString() == identity


def test_d53_a_machine_that_ended_by_itself_is_started_again(env: VirtEnv, connection: libvirt.virConnect) -> None:
    env.start(["web"])
    connection.lookupByName(env.get_vm("web").libvirt_name()).destroy()
    assert env.states()["web"] == "shut off"
    env.start(["web"])
    assert env.states()["web"] == "running"


def test_states_are_in_the_words_that_status_has_always_had(env: VirtEnv, connection: libvirt.virConnect) -> None:
    env.start()
    connection.lookupByName(env.get_vm("web").libvirt_name()).suspend()
    assert env.states() == {"web": "paused", "app": "running"}


class Counting:
    """A connection that counts what is asked of it."""

    def __init__(self, connection: libvirt.virConnect) -> None:
        self._connection = connection
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name != "isAlive":  # libvirt's client answers that by itself
            self.asked.append(name)
        return getattr(self._connection, name)


class Vanishing:
    """A connection of which machines are gone as soon as they were looked up."""

    def __init__(self, connection: libvirt.virConnect) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def lookupByName(self, name: str) -> libvirt.virDomain:
        found = self._connection.lookupByName(name)
        again = self._connection.lookupByName(name)
        again.destroy()
        again.undefine()
        return found


@pytest.mark.parametrize("ask", [lambda vm: vm.alive(), lambda vm: vm.state() != "down", lambda vm: vm.running()])
def test_a_machine_that_goes_while_it_is_asked_for_is_down(env: VirtEnv, ask: Callable[[VM], bool]) -> None:
    env.start(["web"])
    vm = env.get_vm("web")
    assert ask(vm)
    vanishing = Vanishing(env.libvirt_con)
    env._connection = vanishing, env.lifecycle
    assert not ask(vm)


def test_status_takes_one_question_for_machines_and_one_for_nets(env: VirtEnv) -> None:
    env.start()
    counting = Counting(env.libvirt_con)
    env._connection = counting, env.lifecycle
    assert set(env.states().values()) == {"running"}
    assert env.nets_up() == {"front", "back"}
    assert counting.asked == ["getAllDomainStats", "listAllNetworks"]
    env._connection = counting._connection, env.lifecycle


def test_only_the_nets_that_are_needed_start_and_go(env: VirtEnv) -> None:
    env.start(["web"])
    assert (env.states(), env.nets_up()) == ({"web": "running", "app": "down"}, {"front"})
    env.start()
    assert (set(env.states().values()), env.nets_up()) == ({"running"}, {"front", "back"})
    env.stop(["app"])
    assert (env.states(), env.nets_up()) == ({"web": "running", "app": "down"}, {"front"})
    env.stop(["web"])
    assert env.nets_up() == set()


def test_a_machine_that_libvirt_refuses_undoes_what_the_start_began(
    env: VirtEnv, connection: libvirt.virConnect
) -> None:
    env.start(["web"])
    # Somebody's machine of another identity has the name.
    name = env.get_vm("app").libvirt_name()
    taken = connection.defineXML(
        f"<domain type='test'><name>{name}</name><memory>1024</memory><os><type>hvm</type></os></domain>"
    )
    with pytest.raises(HypervisorError, match=r"app does not start: .*already exists"):
        env.start()
    # What ran before goes on; the net that app alone needs is gone again.
    assert env.states()["web"] == "running"
    assert env.nets_up() == {"front"}
    with pytest.raises(libvirt.libvirtError):
        connection.lookupByName(name)
    del taken


def test_several_refusals_are_all_told(env: VirtEnv) -> None:
    for vm in env.get_vms().values():
        vm.spec = dataclasses.replace(vm.spec, memory=-1)
    with pytest.raises(Errors, match="start VMs: 2 of 2 failed") as caught:
        env.start()
    assert "web does not start: " in caught.value.details
    assert "app does not start: " in caught.value.details
    assert env.nets_up() == set()


def test_who_waits_for_the_end_of_a_machine_is_told(env: VirtEnv, connection: libvirt.virConnect) -> None:
    env.start(["web"])
    ended = env.lifecycle.ended(env.get_vm("web").libvirt_name())
    assert not ended.wait(0.1)
    connection.lookupByName(env.get_vm("web").libvirt_name()).destroy()
    assert ended.wait(60)
    env.start(["web"])
    assert not ended.is_set()


def test_an_end_that_is_told_late_is_not_that_of_the_machine_started_since(
    env: VirtEnv, connection: libvirt.virConnect
) -> None:
    env.start()
    name, other = (env.get_vm(vm).libvirt_name() for vm in ("web", "app"))
    ended = env.lifecycle.ended(name)
    busy, late, told = threading.Event(), threading.Event(), threading.Event()

    def on_event(_con: object, domain: libvirt.virDomain, event: int, *_: object) -> None:
        busy.set()
        late.wait(60)
        if (domain.name(), event) == (name, libvirt.VIR_DOMAIN_EVENT_STARTED):
            told.set()

    hearing = connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, on_event, None)
    try:
        # One thread tells all events, and does nothing else until we let it go on.
        connection.lookupByName(other).destroy()
        assert busy.wait(60)
        connection.lookupByName(name).destroy()
        env.start(["web"])
        assert not ended.is_set()
        late.set()
        assert told.wait(60)
        assert not ended.is_set()
        connection.lookupByName(name).destroy()
        assert ended.wait(60)
    finally:
        late.set()
        connection.domainEventDeregisterAny(hearing)


def test_a_machine_that_another_lago_starts_again_has_not_ended(env: VirtEnv, connection: libvirt.virConnect) -> None:
    env.start(["web"])
    name = env.get_vm("web").libvirt_name()
    again = threading.Event()

    def on_event(_con: object, _domain: object, event: int, *_: object) -> None:
        if event == libvirt.VIR_DOMAIN_EVENT_STARTED:
            again.set()

    # Registered after ours, so that it is told after us.
    hearing = connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, on_event, None)
    try:
        connection.lookupByName(name).destroy()
        assert env.lifecycle.ended(name).wait(60)
        # That of the first start may have been told after we began to listen.
        again.clear()
        connection.lookupByName(name).create()
        assert again.wait(60)
        assert not env.lifecycle.ended(name).is_set()
    finally:
        connection.domainEventDeregisterAny(hearing)


def test_a_start_that_failed_does_not_hide_an_end(env: VirtEnv, connection: libvirt.virConnect) -> None:
    env.start(["web"])
    name = env.get_vm("web").libvirt_name()
    with pytest.raises(HypervisorError, match="no"), env.lifecycle.starting(name):
        raise HypervisorError("no")
    connection.lookupByName(name).destroy()
    assert env.lifecycle.ended(name).wait(60)


def test_a_command_needs_a_machine_that_runs(env: VirtEnv) -> None:
    with pytest.raises(VMNotRunning, match="web is not running, it is down") as caught:
        env.get_vm("web").ssh("true")
    assert caught.value.hint == "lago start web"


def test_unknown_names_are_told_with_the_nearest(env: VirtEnv) -> None:
    with pytest.raises(VMNotFound) as caught:
        env.get_vm("wbe")
    assert caught.value.hint == "did you mean web?"
    with pytest.raises(LagoError, match="there is no net fornt"):
        env.get_net("fornt")
    assert env.get_net().name() == "front"


def test_subnets_that_are_taken_are_known_whoever_has_them(env: VirtEnv) -> None:
    env.get_net("back").start()
    assert {"192.168.122.1/24", "192.168.201.1/24"} <= {s.replace("/255.255.255.0", "/24") for s in env.busy_subnets()}


@pytest.mark.parametrize("uri", ["nonsense:///", "test:///no/such/file", "qemu+unix:///system?socket=/no/such/socket"])
def test_a_libvirt_that_cannot_be_reached_is_an_error_with_a_hint(tmp_path: Path, uri: str) -> None:
    env = VirtEnv(Home(tmp_path, uri), {"web": machine("web")}, {})
    with pytest.raises(HypervisorError, match="no connection to libvirt at ") as caught:
        env.states()
    assert uri in caught.value.what
    assert "--libvirt_url private" in caught.value.hint


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("domain-*.xml")), ids=lambda path: path.stem)
def test_machines_are_as_libvirts_schema_says(connection: libvirt.virConnect, path: Path) -> None:
    connection.defineXMLFlags(path.read_text(), libvirt.VIR_DOMAIN_DEFINE_VALIDATE).undefine()


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("network-*.xml")), ids=lambda path: path.stem)
def test_networks_are_as_libvirts_schema_says(connection: libvirt.virConnect, path: Path) -> None:
    connection.networkDefineXMLFlags(path.read_text(), libvirt.VIR_NETWORK_DEFINE_VALIDATE).undefine()


def test_a_reason_that_libvirt_lost_is_asked_for_again(connection: libvirt.virConnect) -> None:
    asked = []

    def find(name: str) -> libvirt.virDomain:
        asked.append(name)
        try:
            return connection.lookupByName(name)
        except libvirt.libvirtError as error:
            if len(asked) == 1:
                error.err = None
            raise

    assert look_up(find, "nobody", libvirt.VIR_ERR_NO_DOMAIN) is None
    assert asked == ["nobody", "nobody"]
    assert look_up(find, "test", libvirt.VIR_ERR_NO_DOMAIN) is not None
    with pytest.raises(libvirt.libvirtError):
        look_up(find, "nobody", libvirt.VIR_ERR_NO_NETWORK)


def test_who_waits_for_a_machine_that_stands_still_is_told_what_lets_it_go_on(env: VirtEnv) -> None:
    env.start(["web"])
    vm = env.get_vm("web")
    vm.domain().suspend()
    told = readiness.explain(vm, 150, None)
    assert told.what == "web did not answer ssh within 150 s: it is paused"
    assert told.hint.startswith("lago start, which lets it go on; ")
