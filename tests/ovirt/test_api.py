"""Logging in to an engine over TLS, by the SDK, and what happens when that can't be."""

from __future__ import annotations

import json
import time
from pathlib import Path

import ovirtsdk4
import pytest
from ovirtsdk4 import types

from lago.errors import HostError, HypervisorError
from ovirtlago.engine import login
from ovirtlago.engine.contract import Identity
from ovirtlago.errors import EngineError, EngineNotReady

from . import pki
from .loopback import FQDN, StandIn


def test_a_connection_is_the_sdks_and_stays_the_same(engine: StandIn) -> None:
    api = engine.vm.get_api()
    assert isinstance(api, ovirtsdk4.Connection)
    assert api.url == f"https://{FQDN}/ovirt-engine/api"
    assert api.system_service().get().product_info.version.full_version == "4.5.6-stand-in"
    assert engine.vm.get_api() is api
    assert Path(engine.vm.env.paths.virt("engine-ca.pem")).read_text() == engine.vm.ca


def test_the_sdk_reads_all_that_the_stand_in_says(engine: StandIn) -> None:
    system = engine.vm.get_api().system_service()
    [cluster] = system.clusters_service().list()
    assert (cluster.name, cluster.cpu.type, cluster.data_center.id) == ("test-cluster", "Intel Conroe Family", "dc")
    hosts = system.hosts_service().list()
    assert [(host.name, host.status, host.cluster.id) for host in hosts] == [
        ("host0", types.HostStatus.UP, "cluster"),
        ("host1", types.HostStatus.UP, "cluster"),
    ]
    assert {host.address for host in hosts} == {engine.vm.env.get_vm(name).ip() for name in ("host0", "host1")}
    [centre] = system.data_centers_service().list()
    assert (centre.name, centre.status) == ("test-dc", types.DataCenterStatus.UP)
    attached = system.data_centers_service().data_center_service("dc").storage_domains_service()
    assert [(one.name, one.status, one.master) for one in attached.list()] == [
        ("master", types.StorageDomainStatus.ACTIVE, True),
        ("nfs", types.StorageDomainStatus.ACTIVE, False),
        ("iscsi", types.StorageDomainStatus.ACTIVE, False),
    ]
    assert attached.storage_domain_service("storage-nfs").get().type == types.StorageDomainType.DATA
    assert system.storage_domains_service().list()[0].status is None
    assert [vm.status for vm in system.vms_service().list()] == [types.VmStatus.DOWN]
    engine.faults.set(hosts__host0={"stuck": True})
    system.hosts_service().host_service("host-host0").deactivate()
    [job] = system.jobs_service().list()
    assert job.status == types.JobStatus.STARTED
    assert job.start_time.timestamp() == pytest.approx(time.time(), abs=100)
    [event] = system.events_service().list(max=1)
    assert event.severity == types.LogSeverity.WARNING
    assert event.description == "hosts host0 is still preparing_for_maintenance."
    with pytest.raises(ovirtsdk4.NotFoundError):
        system.vms_service().vm_service("no-such").get()
    with pytest.raises(ovirtsdk4.Error) as refused:
        system.vms_service().vm_service("vm-0").stop()
    assert (refused.value.code, refused.value.fault.detail) == (409, "[Cannot stop VM. VM is not running.]")


def test_a_connection_that_fails_its_test_is_made_again(engine: StandIn) -> None:
    api = engine.vm.get_api()
    engine.engine.users = {"admin@internal": "other"}
    engine.engine.tokens.clear()
    engine.vm.spec.metadata["ovirt-engine-password"] = "other"  # type: ignore[index]
    again = engine.vm.get_api()
    assert again is not api
    assert again.test()


def test_an_expired_login_is_renewed_by_the_sdk(engine: StandIn) -> None:
    api = engine.vm.get_api()
    engine.engine.tokens.clear()
    assert [host.name for host in api.system_service().hosts_service().list()] == ["host0", "host1"]


def test_d19_the_api_can_be_had_without_waiting(engine: StandIn) -> None:
    assert engine.vm.get_api(wait=False).test()
    engine.vm.disconnect()
    engine.vm.ports = {}
    began = time.monotonic()
    with pytest.raises(EngineNotReady, match=r"engine does not answer: .*refused"):
        engine.vm.get_api(wait=False)
    assert time.monotonic() - began < 30


@pytest.mark.usefixtures("impatient")
def test_an_engine_that_is_not_reached_is_waited_for_a_while_only(engine: StandIn) -> None:
    engine.vm.ports = {}
    with pytest.raises(EngineNotReady, match=r"the engine did not let us in within 1 s: .*refused") as caught:
        engine.vm.get_api()
    assert "lago shell engine" in caught.value.hint


def test_a_machine_that_is_gone_is_an_engine_that_does_not_answer(
    engine: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(port: int) -> None:
        raise HypervisorError("the environment is not running")

    monkeypatch.setattr(engine.vm, "dial", gone)
    with pytest.raises(EngineNotReady, match="engine does not answer: the environment is not running"):
        engine.vm.get_api(wait=False)


def test_an_engine_that_is_about_to_start_is_waited_for(engine: StandIn) -> None:
    engine.faults.set(down=True)
    with pytest.raises(EngineNotReady, match="does not hand out its certificate: status 503"):
        engine.vm.get_api(wait=False)
    import threading

    threading.Timer(0.5, engine.faults.set).start()
    assert engine.vm.get_api().test()


@pytest.mark.usefixtures("impatient")
def test_an_engine_that_never_answers_does_not_hold_us(engine: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "_QUICK", 0.5)
    engine.faults.set(silent=True)
    with pytest.raises(EngineNotReady, match=r"did not let us in within 1 s: .*(timed out|Timeout)"):
        engine.vm.get_api()


def test_an_engine_that_falls_silent_later_does_not_either(engine: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "_REQUEST", 1)
    monkeypatch.setattr(login, "_QUICK", 0.5)
    api = engine.vm.get_api()
    engine.faults.set(silent=True)
    with pytest.raises(ovirtsdk4.Error, match="timed out"):
        api.system_service().hosts_service().list()
    with pytest.raises(EngineNotReady):
        engine.vm.get_api(wait=False)


def test_a_wrong_password_is_told_at_once(engine: StandIn) -> None:
    engine.engine.users = {"admin@internal": "secret"}
    began = time.monotonic()
    with pytest.raises(EngineError, match=r"does not let admin@internal in: .*access_denied") as caught:
        engine.vm.get_api()
    assert not isinstance(caught.value, EngineNotReady)
    assert time.monotonic() - began < 30
    assert "ovirt-engine-password" in caught.value.hint
    assert "123" not in caught.value.render()


def test_another_authority_than_the_machine_has_is_not_trusted(
    engine: StandIn, tmp_path: Path, certificates: Path
) -> None:
    pki.make(tmp_path, FQDN)
    engine.vm.ca = tmp_path.joinpath("ca.pem").read_text()
    with pytest.raises(EngineError, match=r"who answers for engine.example.com has another certificate") as caught:
        engine.vm.get_api()
    assert not isinstance(caught.value, EngineNotReady)
    assert engine.vm.get_api(insecure=True).test()
    with pytest.raises(EngineError, match="has another certificate"):
        engine.vm.get_api()


def test_a_server_that_the_authority_did_not_sign_is_not_trusted(
    engine: StandIn, tmp_path: Path, certificates: Path
) -> None:
    pki.make(tmp_path, FQDN)
    # It hands out the right certificate of an authority, as anybody could.
    engine.vm.ca = tmp_path.joinpath("ca.pem").read_text()
    engine.engine.directory.joinpath("ca.pem").write_text(engine.vm.ca)
    with pytest.raises(EngineError, match="the certificate of the engine on engine can't be trusted"):
        engine.vm.get_api()


def test_a_server_of_another_name_is_not_trusted(engine: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.vm, "identity", lambda: Identity("other.example.com", engine.vm.ca))
    with pytest.raises(EngineError, match="can't be trusted") as caught:
        engine.vm.get_api()
    assert "it must be for other.example.com" in caught.value.details
    assert engine.vm.get_api(insecure=True).test()


def test_proxies_of_the_user_are_not_asked_for_machines(engine: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert engine.vm.get_api().test()


def test_d19_disconnecting_needs_no_live_engine(engine: StandIn) -> None:
    engine.vm.get_api()
    engine.vm.ports = {}
    began = time.monotonic()
    engine.vm.disconnect()
    assert time.monotonic() - began < 30


def test_without_the_sdk_the_remedy_is_named(engine: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins
    import sys

    real = builtins.__import__

    def without(name: str, *args: object, **more: object) -> object:
        if name.startswith("ovirtsdk4"):
            raise ModuleNotFoundError(name=name)
        return real(name, *args, **more)  # type: ignore[arg-type]

    for name in list(sys.modules):
        if name.startswith(("ovirtlago.engine.login", "ovirtlago.engine.connection")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(HostError, match="the Python package ovirtsdk4 is not installed") as caught:
        engine.vm.get_api()
    assert caught.value.hint == "pip install ovirt-engine-sdk-python"


def test_basic_authentication_works_as_on_an_engine(engine: StandIn) -> None:
    """Nothing of ours uses it; scripts in the wild do."""
    import base64
    import http.client
    import ssl

    context = ssl.create_default_context(cadata=engine.vm.ca)
    connection = http.client.HTTPSConnection(FQDN, context=context)
    connection.sock = context.wrap_socket(engine.vm.dial(443), server_hostname=FQDN)
    word = base64.b64encode(b"admin@internal:123").decode()
    connection.request("GET", "/ovirt-engine/api/hosts", headers={"Authorization": f"Basic {word}"})
    assert b"<host " in connection.getresponse().read()
    connection.close()
    assert json.loads(engine.engine.directory.joinpath("state.json").read_text())["hosts"]
