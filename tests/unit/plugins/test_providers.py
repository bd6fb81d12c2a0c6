"""Machines that a plugin runs: all that its contract offers is called, and libvirt is asked for none of it."""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path
from typing import Any

import pytest

from lago import plugins
from lago.environment.prefix import Prefix
from lago.errors import ExtractPathError, ExtractPathNoPathError, LagoError, VMError, VMNotRunning
from lago.guest import ssh_config
from lago.guest.ssh import Guest
from lago.host import ssh_option
from lago.hypervisor import rundir
from lago.plugins import contracts
from lago.virt import VM, provided

from ..conftest import Lago, make_prefix
from .conftest import package

PROVIDERS = """
import os

from lago.errors import ExtractPathNoPathError, VMError

DID, STATES, THERE = [], {}, {"/etc/motd": "hello", "/etc/issue": "issue"}


class Cloud:
    def __init__(self, vm):
        self.vm = vm

    def did(self, *what):
        DID.append((self.vm.name(), *what))

    def bootstrap(self):
        self.did("bootstrap")

    def start(self):
        self.did("start")
        STATES[self.vm.name()] = "running"

    def stop(self):
        self.did("stop")
        STATES[self.vm.name()] = "down"

    def shutdown(self):
        self.did("shutdown")
        STATES[self.vm.name()] = "down"

    def reboot(self):
        self.did("reboot")

    def state(self):
        said = STATES.get(self.vm.name(), "down")
        if said == "lost":
            raise VMError("nobody answers")
        return said

    def running(self):
        return self.state() != "down"

    def create_snapshot(self, name):
        if name == "bad":
            raise VMError("there is no room")
        self.did("create_snapshot", name)

    def revert_snapshot(self, name):
        self.did("revert_snapshot", name)


def copied(paths, ignore_nopath):
    missing = []
    for path, host in paths:
        if path in THERE:
            with open(host, "w") as file:
                file.write(THERE[path])
        else:
            missing.append(path)
    if missing and not ignore_nopath:
        raise ExtractPathNoPathError(", ".join(missing))


class Reading(Cloud):
    def extract_paths(self, paths, *, ignore_nopath):
        self.did("extract_paths")
        copied(paths, ignore_nopath)


class Dead(Cloud):
    def extract_paths_dead(self, paths, *, ignore_nopath):
        self.did("extract_paths_dead")
        copied(paths, ignore_nopath)


class Away(Cloud):
    def login(self):
        return self.LOGIN


class Full(Cloud):
    def interactive_console(self, stdin, stdout, *, force):
        self.did("interactive_console", stdin, stdout, force)
        return True

    def export_disks(self, standalone, dst_dir, compress):
        self.did("export_disks", standalone, compress)
        path = os.path.join(dst_dir, "disk.raw")
        with open(path, "w") as file:
            file.write("disk")
        return [path]
"""
ENTRIES = "[lago.plugins.vm_provider]\n" + "".join(
    f"{name} = providers:{name.capitalize()}\n" for name in ("cloud", "reading", "dead", "full", "away")
)
MACHINE = "domains: {{far: {{vm-provider: {}, artifacts: [/etc/motd, /etc/issue, /no/such], disks: {}}}}}\n"


@pytest.fixture(autouse=True)
def providers(site: Path) -> None:
    """A package with providers of several kinds; none of their machines is logged in to."""
    package(site, "providers", ENTRIES, PROVIDERS)


def made(path: Path, provider: str, disks: str = "[]") -> Prefix:
    """A prefix with the machine `far` and no libvirt that could be asked."""
    found = make_prefix(path / ".lago" / "default", MACHINE.format(provider, disks) + "nets: {lan: {}}\n")
    (found / "images").mkdir()
    return Prefix(str(found))


def did(command: str | None = None) -> list[Any]:
    """What providers were asked to do, but for the name of the machine."""
    return [what[1:] for what in sys.modules["providers"].DID if command in (None, what[1])]


def running(prefix: Prefix) -> VM:
    """The machine, which its provider takes for running."""
    vm = prefix.virt_env.get_vm("far")
    vm.start()
    assert vm.running()
    return vm


class TestFiles:
    @pytest.mark.parametrize("runs", [True, False])
    def test_collect_asks_a_provider_that_has_a_way_of_its_own(self, tmp_path: Path, runs: bool) -> None:
        prefix = made(tmp_path, "reading")
        if runs:
            running(prefix)
        found = prefix.collect_artifacts(str(tmp_path / "out"))
        assert found["far"]["missing"] == ["/no/such"]
        assert (tmp_path / "out" / "far" / "_etc_motd").read_text() == "hello"
        assert (tmp_path / "out" / "far" / "_etc_issue").read_text() == "issue"
        with pytest.raises(ExtractPathNoPathError) as raised:
            prefix.collect_artifacts(str(tmp_path / "again"), ignore_nopath=False)
        assert raised.value.details == "far: /no/such"
        assert (tmp_path / "again" / "far" / "_etc_motd").read_text() == "hello"

    def test_paths_that_are_not_there_are_told_though_something_old_is_where_they_go(self, tmp_path: Path) -> None:
        prefix = made(tmp_path, "reading")
        (tmp_path / "old").write_text("old")
        paths = [("/no/such", str(tmp_path / "old")), ("/etc/motd", str(tmp_path / "new"))]
        with pytest.raises(ExtractPathNoPathError, match="far: /no/such: there is no such path"):
            prefix.virt_env.get_vm("far").extract_paths(paths)
        assert (tmp_path / "new").read_text() == "hello"
        prefix.virt_env.get_vm("far").extract_paths(paths, ignore_nopath=True)

    @pytest.mark.parametrize("runs", [True, False])
    def test_disks_are_read_by_the_provider_when_there_is_no_ssh(self, tmp_path: Path, runs: bool) -> None:
        prefix = made(tmp_path, "dead")
        if runs:
            running(prefix)
        assert prefix.collect_artifacts(str(tmp_path / "out"))["far"]["missing"] == ["/no/such"]
        assert (tmp_path / "out" / "far" / "_etc_motd").read_text() == "hello"
        assert did("extract_paths_dead")

    @pytest.mark.parametrize(("runs", "why"), [(True, "far has no address on a management net"), (False, "it is down")])
    def test_without_ssh_and_a_way_of_its_own_the_provider_is_named(self, tmp_path: Path, runs: bool, why: str) -> None:
        prefix = made(tmp_path, "cloud")
        if runs:
            running(prefix)
        with pytest.raises(ExtractPathError) as raised:
            prefix.collect_artifacts(str(tmp_path / "out"))
        assert raised.value.what == "far: its files can't be had, and its vm-provider cloud does not read its disks"
        assert (raised.value.details, raised.value.hint) == (why, "lago start far")


class TestLife:
    @pytest.mark.programs
    @pytest.mark.parametrize(("more", "prepared"), [((), [("bootstrap",)]), (("--skip-bootstrap",), [])])
    def test_it_is_prepared_by_its_provider(
        self, lago: Lago, tmp_path: Path, more: tuple[str, ...], prepared: list[Any]
    ) -> None:
        (tmp_path / "LagoInitFile").write_text(MACHINE.format("cloud", "[]") + "nets: {lan: {}}\n")
        lago("init", *more)
        assert did() == prepared

    def test_it_runs_and_stops_without_a_hypervisor(self, tmp_path: Path) -> None:
        prefix = made(tmp_path, "cloud")
        prefix.start()
        assert not prefix.hypervisor.running()
        assert prefix.status().machines["far"].state == "running"
        assert prefix.shutdown(["far"]) == {"far": "its provider"}
        prefix.start()
        assert prefix.shutdown(["far"], reboot=True) == {"far": "its provider"}
        prefix.stop()
        assert prefix.status().machines["far"].state == "down"
        assert did() == [("start",), ("shutdown",), ("start",), ("reboot",), ("stop",)]
        with pytest.raises(VMNotRunning, match="far is not running, it is down"):
            prefix.shutdown(["far"])

    def test_destroy_stops_it(self, tmp_path: Path) -> None:
        prefix = made(tmp_path, "cloud")
        prefix.start()
        prefix.destroy()
        assert did() == [("start",), ("stop",)]

    @pytest.mark.parametrize("url", ["private", "test:///default"])
    def test_a_provider_that_does_not_answer_hinders_neither_status_nor_destroy(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, url: str
    ) -> None:
        prefix = made(tmp_path, "cloud")
        Path(prefix.paths.metadata()).write_text(f'{{"libvirt_url": "{url}"}}')
        running(prefix)
        sys.modules["providers"].STATES["far"] = "lost"
        assert prefix.status().machines["far"].state == "unknown"
        assert "the state of far can't be asked: nobody answers" in caplog.text
        prefix.destroy()
        assert "machines elsewhere are left as they are: nobody answers" in caplog.text
        assert not (tmp_path / ".lago" / "default").exists()

    def test_what_libvirt_would_give_is_refused_in_the_name_of_the_provider(self, tmp_path: Path) -> None:
        vm = running(made(tmp_path, "cloud"))
        for ask in (vm.vnc_port, lambda: vm.screenshot("x"), lambda: vm.send_keys("a"), vm.domain):
            with pytest.raises(VMError, match="far is not known to libvirt: it is run by the vm-provider cloud"):
                ask()
        with pytest.raises(VMError, match="far has no console here: it is run by the vm-provider cloud"):
            vm.interactive_console()

    def test_its_console_is_its_providers(self, tmp_path: Path) -> None:
        assert running(made(tmp_path, "full")).interactive_console(3, 4, force=True) is True
        assert did("interactive_console") == [("interactive_console", 3, 4, True)]

    def test_it_can_not_be_forked(self, tmp_path: Path) -> None:
        with pytest.raises(LagoError, match="machines are elsewhere can't be forked: far"):
            made(tmp_path, "cloud").fork(str(tmp_path / "fork"))


@pytest.mark.usefixtures("runtime_dir")
class TestLogin:
    @pytest.fixture
    def prefix(self, tmp_path: Path) -> Prefix:
        """A machine elsewhere that has a password here."""
        domain = "domains: {far: {vm-provider: away, root-password: secret, nics: [{net: lan}]}}\nnets: {lan: {}}\n"
        return Prefix(str(make_prefix(tmp_path / "prefix", domain)))

    def guest(self, prefix: Prefix, login: contracts.Login) -> Guest:
        """How to log in to it when its provider says so."""
        prefix.virt_env.get_vm("far")
        sys.modules["providers"].Away.LOGIN = login
        return prefix.guest("far")

    def test_it_is_reached_where_its_provider_says_and_known_by_its_key(self, prefix: Prefix, tmp_path: Path) -> None:
        known = str(tmp_path / "known hosts")
        login = contracts.Login("far.example.com", "me", 2222, key="/k", password="p", known_hosts=known)
        guest = self.guest(prefix, login)
        assert (guest.user, guest.address, guest.key, guest.passwords) == ("me", "far.example.com", "/k", ("p",))
        assert guest.wrap(["ssh"]) == ["ssh"]
        text = ssh_config.config([guest], prefix.paths.prefix(), private=True)
        hosts = f"UserKnownHostsFile {ssh_option.quote(known)}"
        for line in ("HostName far.example.com", "Port 2222", "StrictHostKeyChecking yes", hosts):
            assert line in text
        assert "ProxyCommand" not in text

    def test_what_logs_in_to_guests_is_not_shown_to_strangers(self, prefix: Prefix) -> None:
        guest = self.guest(prefix, contracts.Login("far.example.com"))
        assert (guest.user, guest.key, guest.passwords) == ("root", prefix.paths.ssh_id_rsa(), ())
        assert "UserKnownHostsFile" not in guest.settings

    def test_its_connection_does_not_go_with_a_hypervisor(self, prefix: Prefix, runtime_dir: Path) -> None:
        sockets = Path(self.guest(prefix, contracts.Login("far.example.com")).control).parent
        assert sockets == runtime_dir / "lago" / f"{prefix.uuid[:12]}-out"
        assert sockets.stat().st_mode & 0o777 == 0o700
        rundir.remove(str(sockets), prefix.uuid)
        assert sockets.exists()
        prefix.stop()
        assert not sockets.exists()

    def test_nothing_is_left_of_a_connection_when_its_provider_does_not_answer(self, prefix: Prefix) -> None:
        sockets = Path(self.guest(prefix, contracts.Login("far.example.com")).control).parent
        sys.modules["providers"].STATES["far"] = "lost"
        with pytest.raises(VMError, match="nobody answers"):
            prefix.stop()
        assert not sockets.exists()
        prefix.destroy()
        assert not sockets.exists()

    def test_it_needs_no_net_of_the_environment(self, prefix: Prefix) -> None:
        self.guest(prefix, contracts.Login("")).close()
        prefix.start()
        assert not prefix.hypervisor.running()
        assert prefix.status().networks["lan"].state == "down"


class TestSnapshots:
    def test_they_are_taken_and_gone_back_to_by_its_provider(self, tmp_path: Path) -> None:
        prefix = made(tmp_path, "cloud")
        vm = running(prefix)
        prefix.create_snapshots("one")
        vm.create_snapshot("two")
        assert list(prefix.snapshots()) == ["one", "two"]
        prefix.revert_snapshots("one")
        vm.revert_snapshot("two")
        prefix.delete_snapshot("one")
        assert did()[1:] == [
            ("create_snapshot", "one"),
            ("create_snapshot", "two"),
            ("revert_snapshot", "one"),
            ("revert_snapshot", "two"),
        ]

    def test_one_that_a_provider_refuses_is_not_there(self, tmp_path: Path) -> None:
        prefix = made(tmp_path, "cloud")
        running(prefix)
        with pytest.raises(VMError, match="there is no room"):
            prefix.create_snapshots("bad")
        assert prefix.snapshots() == {}
        prefix.create_snapshots("good")


class TestExport:
    def test_disks_are_written_by_the_provider(self, tmp_path: Path) -> None:
        prefix = made(tmp_path, "full")
        found = prefix.export_vms(export_dir=str(tmp_path / "out"), standalone=True)
        assert found["far"] == [str(tmp_path / "out" / "disk.raw")]
        assert (tmp_path / "out" / "disk.raw").read_text() == "disk"
        assert "vm-provider: full" in (tmp_path / "out" / "LagoInitFile").read_text()
        assert did() == [("export_disks", True, False)]

    def test_disks_that_nobody_can_write_are_not_left_out_in_silence(self, tmp_path: Path) -> None:
        prefix = made(tmp_path, "cloud", "[{type: empty, size: 1G, format: qcow2}]")
        with pytest.raises(VMError, match="far can't be exported: it is run by the vm-provider cloud"):
            prefix.export_vms(export_dir=str(tmp_path / "out"))
        assert not (tmp_path / "out").exists()


def members(contract: type) -> set[str]:
    """What a contract asks for."""
    return {name for name, _ in inspect.getmembers(contract, inspect.isfunction) if not name.startswith("_")}


def test_a_contract_has_all_that_is_called_and_nothing_else() -> None:
    tree = ast.parse(Path(provided.__file__).read_text())
    called = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self._plugin"
    }
    offers = {
        ast.literal_eval(node.args[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "self._offer"
    }
    assert members(contracts.VMProviderPlugin) == called == set(plugins._CONTRACTS[plugins.VM_PROVIDER])
    assert members(contracts.VMProviderOffers) == offers
