"""Lago as a library, as far as nothing has to run for it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago import config, log, sdk
from lago.environment.workdir import Workdir
from lago.errors import InitFileError, PrefixError, VMNotFound
from lago.host.parallel import in_parallel

from .conftest import make_prefix

PUBLIC = {
    "ansible_inventory",
    "ansible_inventory_temp_file",
    "capture",
    "captures",
    "collect_artifacts",
    "create_snapshots",
    "cut",
    "deploy",
    "destroy",
    "dns",
    "drop",
    "export_vms",
    "fault",
    "fault_timeline",
    "faults",
    "fork",
    "get_nets",
    "get_paths",
    "get_vms",
    "heal",
    "inflict",
    "metadata",
    "partition",
    "note",
    "reachability",
    "revert_snapshots",
    "run_on_all",
    "shutdown",
    "slow",
    "start",
    "stop",
    "wait_until",
}
ONE_DISK = {
    "domains": {"vm0": {"disks": [{"type": "empty", "size": "1M", "format": "raw"}], "nics": [{"net": "lan"}]}},
    "nets": {"lan": {}},
}


def _process() -> dict[str, object]:
    """What belongs to the whole process."""
    return {
        "directory": os.getcwd(),
        # pytest itself sets one for each phase of a test.
        "environment": {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
        "command line": dict(config._command_line),
        "logger": (list(log.LOG.handlers), log.LOG.level, log._console),
        "root logger": logging.getLogger().level,
    }


@pytest.fixture(autouse=True)
def unchanged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No test changes what belongs to the whole process."""
    monkeypatch.chdir(tmp_path)
    before = _process()
    yield
    assert _process() == before


@pytest.fixture
def env(tmp_path: Path) -> sdk.Env:
    make_prefix(tmp_path / "w" / "default")
    return sdk.load_env(tmp_path / "w")


def test_only_what_is_exposed_is_there(env: sdk.Env) -> None:
    assert {name for name in dir(env) if not name.startswith("_")} == PUBLIC
    with pytest.raises(AttributeError):
        env.virt_env  # type: ignore[attr-defined]  # noqa: B018


def test_an_environment_that_is_there_is_loaded(env: sdk.Env, tmp_path: Path) -> None:
    assert list(env.get_vms()) == ["vm0"]
    assert list(env.get_nets()) == ["lan"]
    assert env.get_paths().prefix() == str(tmp_path / "w" / "default")
    assert env.metadata == {}
    with env:
        pass
    assert Workdir(str(tmp_path / "w")).prefixes() == ["default"]


def test_where_there_is_no_environment_none_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(PrefixError, match="holds no prefix"):
        sdk.load_env(tmp_path)


def test_an_unknown_machine_is_named_with_near_ones(env: sdk.Env) -> None:
    with pytest.raises(VMNotFound) as caught:
        env.start(["vm1"])
    assert caught.value.hint == "did you mean vm0?"


@pytest.mark.programs
def test_a_mapping_makes_an_environment_that_the_block_removes(tmp_path: Path) -> None:
    with sdk.init(ONE_DISK) as env:
        assert (tmp_path / ".lago" / "default" / "images").is_dir()
        assert env.get_vms()["vm0"].spec.disks[0].size == 1 << 20
    assert not (tmp_path / ".lago").exists()


@pytest.mark.programs
def test_what_is_kept_stays(tmp_path: Path) -> None:
    with sdk.init(ONE_DISK, tmp_path / "w", keep=True):
        pass
    assert Workdir(str(tmp_path / "w")).prefixes() == ["default"]
    with pytest.raises(PrefixError, match="exists already"):
        sdk.init(ONE_DISK, tmp_path / "w")
    assert Workdir(str(tmp_path / "w")).prefixes() == ["default"]


@pytest.mark.programs
def test_a_block_that_fails_is_removed_too(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), sdk.init(ONE_DISK, tmp_path / "w"):
        _ = 1 / 0
    assert not (tmp_path / "w").exists()


@pytest.mark.programs
def test_a_block_in_which_it_was_destroyed_ends_well(tmp_path: Path) -> None:
    with sdk.init(ONE_DISK, tmp_path / "w") as env:
        env.destroy()
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("bad", "why"), [({"domains": {}, "more": {1, 2}}, "not JSON serializable"), ({"domain": {}}, "domains")]
)
def test_a_bad_mapping_leaves_nothing(tmp_path: Path, bad: dict[str, object], why: str) -> None:
    with pytest.raises(InitFileError) as caught:
        sdk.init(bad, tmp_path / "w")
    assert why in caught.value.render()
    assert not (tmp_path / "w").exists()


@pytest.mark.programs
def test_two_environments_made_at_once_log_to_their_own_files(tmp_path: Path) -> None:
    def work(name: str) -> None:
        with sdk.init(ONE_DISK, tmp_path / name, logfile=tmp_path / f"{name}.log", loglevel=logging.DEBUG):
            pass

    in_parallel(work, ["one", "two"], what="make")
    for name, other in (("one", "two"), ("two", "one")):
        text = (tmp_path / f"{name}.log").read_text()
        assert "Destroy prefix: Success" in text
        # The rest of the path is quoted there, as for a shell.
        assert f"/{tmp_path.name}/{name}" in text
        assert f"/{tmp_path.name}/{other}" not in text


@pytest.mark.programs
def test_defaults_come_from_the_section_init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGO__INIT__TEMPLATE_REPO_PATH", str(tmp_path / "none.json"))
    with pytest.raises(Exception, match=re.escape("none.json")):
        sdk.init(ONE_DISK, tmp_path / "w")
    monkeypatch.delenv("LAGO__INIT__TEMPLATE_REPO_PATH")


@pytest.mark.programs
def test_an_inventory_can_be_read_from_its_start(env: sdk.Env) -> None:
    with env.ansible_inventory_temp_file(["name"]) as file:
        text = file.read()
        assert Path(file.name).read_text() == text
    assert text.startswith("[name=vm0]\nvm0 ansible_host=")
    assert not Path(file.name).exists()


def test_a_second_stream_logger_takes_the_place_of_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    level = log.LOG.level
    sdk.add_stream_logger(logging.INFO)
    sdk.add_stream_logger(logging.INFO)
    try:
        with pytest.raises(PrefixError):
            sdk.load_env(tmp_path)
        with log.task("Start"):
            log.LOG.debug("detail")
    finally:
        [added] = [handler for handler in log.LOG.handlers if handler.get_name() == "lago-stream"]
        log.LOG.removeHandler(added)
        log.LOG.setLevel(level)
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition("::")[2].partition(" after")[0] for line in lines] == ["Start: started", "Start: Success"]
