"""A new prefix is there as a whole or not at all, and nobody else touches it meanwhile."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from lago import config, subnet_lease
from lago.environment import facts
from lago.environment.claims import Claims
from lago.environment.staging import UNFINISHED, already_there, staged
from lago.errors import LockTimeout, PrefixError
from lago.host.locks import lock_file
from lago.initfile import document, parse
from lago.paths import Paths


def test_what_was_made_gets_its_name_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new"
    with staged(str(path)) as staging:
        assert os.path.dirname(staging) == str(tmp_path)
        assert os.path.basename(staging).startswith(UNFINISHED)
        Path(staging, "file").write_text("content")
        assert not path.exists()
        with pytest.raises(LockTimeout), lock_file(Paths(staging).lock(), what=staging, timeout=0):
            pass
    assert (path / "file").read_text() == "content"
    assert os.listdir(tmp_path) == ["new"]
    with lock_file(Paths(str(path)).lock(), what="new", timeout=0):
        pass


@pytest.mark.parametrize("error", [PrefixError("no"), KeyboardInterrupt(), OSError("no")])
def test_of_what_fails_nothing_is_left_and_its_subnets_are_free_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setenv("LAGO_LEASE_DIR", str(tmp_path / "leases"))
    config.set_command_line({})
    init_file = tmp_path / "LagoInitFile"
    init_file.write_text("domains: {vm0: {nics: [{net: lan}], disks: []}}\nnets: {lan: {}}\n")
    wanted = parse.parse(document.read(str(init_file)))

    def fail() -> None:
        with staged(str(tmp_path / "new")) as staging:
            paths = Paths(staging)
            Path(paths.uuid()).write_text("7" * 32)
            facts.save(paths, {"libvirt_url": "test:///default"})
            assert Claims(paths).lease(wanted, ()) == {"lan": "192.168.200.1"}
            assert len(subnet_lease.default_store().list_leases()) == 1
            raise error

    with pytest.raises(type(error)):
        fail()
    assert not list(subnet_lease.default_store().list_leases())
    assert sorted(os.listdir(tmp_path)) == ["LagoInitFile", "leases"]


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "new"
    path.mkdir()
    with pytest.raises(PrefixError, match="exists already"), staged(str(path)):
        pytest.fail("it is there")
    assert os.listdir(tmp_path) == ["new"]


def test_what_came_there_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "new"

    def be_late() -> None:
        with staged(str(path)):
            path.mkdir()
            (path / "file").touch()

    with pytest.raises(PrefixError, match="Directory not empty") as raised:
        be_late()
    assert raised.value.hint == "choose another name"
    assert os.listdir(tmp_path) == ["new"]
    assert os.listdir(path) == ["file"]


@pytest.mark.parametrize("path", ["/tmp/a b/x", "/tmp/it's", "/tmp/$HOME; rm -rf x", "/tmp/plain"])
def test_the_command_that_a_hint_names_can_be_pasted_into_a_shell(path: str) -> None:
    command = already_there(path).hint.removeprefix("choose another name, or ")
    assert shlex.split(command) == ["lago", "-p", path, "destroy"]
