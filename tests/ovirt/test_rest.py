"""Hosts, storage domains and virtual machines of an engine: at rest, awake, and stuck in between."""

from __future__ import annotations

import threading
import time

import pytest

from lago.errors import Errors, LagoError
from ovirtlago.engine import hosts, rest, storage, vms, waiting
from ovirtlago.errors import EngineError

from .loopback import HOSTS, STORAGE, StandIn

ALL_UP = dict.fromkeys(HOSTS, "up")
ALL_AT_REST = dict.fromkeys(HOSTS, "maintenance")
ALL_ACTIVE = dict.fromkeys(STORAGE, "active")
NONE_ACTIVE = dict.fromkeys(STORAGE, "maintenance")


def test_everything_gets_to_rest_and_wakes_in_an_order_that_the_engine_takes(engine: StandIn) -> None:
    rest.deactivate(engine.vm)
    assert (engine.statuses("hosts"), engine.statuses("storagedomains")) == (ALL_AT_REST, NONE_ACTIVE)
    rest.deactivate(engine.vm)
    rest.activate(engine.vm)
    assert (engine.statuses("hosts"), engine.statuses("storagedomains")) == (ALL_UP, ALL_ACTIVE)
    rest.activate(engine.vm)
    assert engine.said("error") == [], "nothing was refused, so the order was right"
    done = [event for event in engine.said("normal") if " is now " in event]
    assert done[2] == "storagedomains master is now maintenance."
    assert done[7] == "storagedomains master is now active."


def test_hosts_are_chosen_by_name(engine: StandIn) -> None:
    assert hosts.deactivate(engine.vm, ["host1"]) == ["host1"]
    assert engine.statuses("hosts") == {"host0": "up", "host1": "maintenance"}
    assert hosts.activate(engine.vm) == ["host0", "host1"]
    assert engine.statuses("hosts") == ALL_UP
    with pytest.raises(LagoError, match="the engine has no hots1") as caught:
        hosts.deactivate(engine.vm, ["hots1"])
    assert caught.value.hint == "did you mean host1?"
    assert engine.statuses("hosts") == ALL_UP


def test_a_host_that_is_refused_some_times_is_asked_again(engine: StandIn) -> None:
    engine.faults.set(hosts__host0={"refuse": 2})
    hosts.deactivate(engine.vm)
    assert engine.statuses("hosts") == ALL_AT_REST
    assert len(engine.said("error")) == 2


def test_a_host_that_comes_back_is_asked_again(engine: StandIn) -> None:
    engine.faults.set(hosts__host0={"bounce": 1})
    hosts.deactivate(engine.vm, ["host0"])
    assert engine.statuses("hosts")["host0"] == "maintenance"


@pytest.mark.usefixtures("impatient")
def test_a_host_that_never_gets_to_rest_is_told_with_the_last_event(engine: StandIn) -> None:
    engine.faults.set(hosts__host0={"stuck": True})
    began = time.monotonic()
    with pytest.raises(
        EngineError, match=r"deactivate host host0: not done within 1 s: it is preparing_for_"
    ) as caught:
        hosts.deactivate(engine.vm, ["host0"])
    assert time.monotonic() - began < 30
    assert caught.value.details.startswith("last event of engine: 2")
    assert caught.value.details.endswith(" warning: hosts host0 is still preparing_for_maintenance.")


@pytest.mark.usefixtures("impatient")
def test_a_host_that_is_always_refused_is_told_with_the_reason(engine: StandIn) -> None:
    engine.faults.set(hosts__host0={"refuse": 1000})
    with pytest.raises(EngineError, match=r"not done within 1 s: Cannot change host0. Related operation") as caught:
        hosts.deactivate(engine.vm, ["host0"])
    assert "error: Cannot change host0" in caught.value.details


@pytest.mark.usefixtures("impatient")
def test_all_hosts_that_fail_are_told_and_the_others_get_there(engine: StandIn) -> None:
    engine.faults.set(hosts__host0={"stuck": True}, hosts__host1={"stuck": True})
    with pytest.raises(Errors, match="deactivate hosts: 2 of 2 failed"):
        hosts.deactivate(engine.vm)
    engine.faults.set(hosts__host0={"stuck": True})
    engine.state.of("hosts")["host-host1"]["status"] = "up"
    with pytest.raises(EngineError, match="host0"):
        hosts.deactivate(engine.vm)
    assert engine.statuses("hosts")["host1"] == "maintenance"


@pytest.mark.usefixtures("impatient")
def test_a_storage_domain_that_is_stuck_is_told_and_the_master_stays(engine: StandIn) -> None:
    engine.faults.set(storagedomains__nfs={"stuck": True})
    with pytest.raises(EngineError, match="deactivate storage domain nfs of data center test-dc") as caught:
        rest.deactivate(engine.vm)
    assert "last event of engine:" in caught.value.details
    assert engine.statuses("storagedomains") == {
        "master": "active",
        "nfs": "preparing_for_maintenance",
        "iscsi": "maintenance",
    }
    assert engine.statuses("hosts") == ALL_UP


def test_storage_without_hosts_has_nothing_to_put_to_rest(engine: StandIn) -> None:
    for host in engine.state.of("hosts").values():
        host["status"] = "maintenance"
    storage.deactivate(engine.vm)
    assert engine.statuses("storagedomains") == ALL_ACTIVE
    assert engine.said("error") == []


def test_virtual_machines_start_and_stop(engine: StandIn) -> None:
    assert vms.start(engine.vm) == ["vm0"]
    assert vms.running(engine.vm) == ["vm0"]
    with pytest.raises(EngineError, match="there are virtual machines that run: vm0") as caught:
        rest.deactivate(engine.vm)
    assert caught.value.hint == "lago ovirt stop-vms"
    assert engine.statuses("storagedomains") == ALL_ACTIVE
    assert vms.stop(engine.vm) == ["vm0"]
    assert vms.running(engine.vm) == []


@pytest.mark.usefixtures("impatient")
def test_a_virtual_machine_that_does_not_start_is_told(engine: StandIn) -> None:
    engine.faults.set(vms__vm0={"stuck": True})
    with pytest.raises(EngineError, match=r"start virtual machine vm0: not done within 0.5 s: it is powering_up"):
        vms.start(engine.vm, timeout=0.5)


def test_a_virtual_machine_that_is_deaf_is_stopped(engine: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    vms.start(engine.vm)
    monkeypatch.setattr(vms, "_HEED", 0.05)
    monkeypatch.setenv("LAGO__OVIRT__SHORT_TIMEOUT", "20")
    engine.faults.set(vms__vm0={"deaf": True})
    vms.stop(engine.vm)
    assert engine.statuses("vms") == {"vm0": "down"}
    assert "The guest in vm0 does not heed it." in engine.said("warning")


def test_all_is_ended_before_a_stop(engine: StandIn) -> None:
    vms.start(engine.vm)
    rest.end_all(engine.vm)
    assert engine.statuses("vms") == {"vm0": "down"}
    assert (engine.statuses("hosts"), engine.statuses("storagedomains")) == (ALL_AT_REST, NONE_ACTIVE)


def test_an_engine_that_starts_anew_meanwhile_is_waited_for(engine: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.vm.get_api()
    engine.faults.set(down=True)
    engine.engine.tokens.clear()
    threading.Timer(0.5, engine.faults.set).start()
    waiting.wait_until(engine.vm, "something", lambda api: "" if api.test() else "not yet", 30)


def test_an_interrupt_ends_waits(engine: StandIn) -> None:
    engine.faults.set(hosts__host0={"stuck": True})
    engine.vm.env.cancelled.set()
    began = time.monotonic()
    with pytest.raises(EngineError):
        hosts.deactivate(engine.vm, ["host0"])
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("text", ["0", "-1", "many", "nan", "inf"])
def test_times_that_are_none_are_told(engine: StandIn, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("LAGO__OVIRT__SHORT_TIMEOUT", text)
    with pytest.raises(LagoError, match=f"LAGO__OVIRT__SHORT_TIMEOUT: short_timeout = {text}: expected a number"):
        waiting.short(engine.vm)


def test_times_have_defaults_and_grow_where_machines_are_emulated(
    engine: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lago.hypervisor.accel import Accel

    monkeypatch.delenv("LAGO__OVIRT__SHORT_TIMEOUT")
    monkeypatch.delenv("LAGO__OVIRT__LONG_TIMEOUT")
    assert (waiting.short(engine.vm), waiting.long(engine.vm)) == (180, 600)
    engine.vm.env.__dict__["accel"] = Accel("tcg", "it is asked for")
    assert waiting.short(engine.vm) == 900


def test_a_connection_that_breaks_is_an_error_of_ours(engine: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    api = engine.vm.get_api()
    monkeypatch.setattr(engine.vm, "get_api", lambda **_: api)
    engine.faults.set(down=True)
    for ask in (vms.running, hosts.deactivate, storage.deactivate):
        with pytest.raises(EngineError, match="engine does not do what it is asked: "):
            ask(engine.vm)
