"""The list of all environments of a user, which puts itself right."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from lago.cli.main import main
from lago.environment import registry
from lago.environment.everywhere import Environment, environments
from lago.environment.workdir import find_prefix
from lago.paths import Paths


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def prefix_at(path: Path, digit: str = "0") -> Path:
    (path / "virt").mkdir(parents=True)
    (path / "initialized").touch()
    (path / "uuid").write_text(digit * 32)
    (path / "virt" / "env").write_text('{"nets": [], "vms": []}')
    return path


def touched(path: Path) -> Path:
    find_prefix(str(path), None, "current")
    return path


def found() -> dict[str, str]:
    return {one.path: one.state for one in environments()}


def test_where_no_command_ever_was_there_is_none() -> None:
    assert environments() == []
    assert not os.path.exists(registry.register())


def test_an_environment_appears_when_a_command_touches_it(tmp_path: Path) -> None:
    path = prefix_at(tmp_path / "a" / "one")
    assert found() == {}
    touched(path)
    touched(prefix_at(tmp_path / "b" / "two", "1"))
    one, _ = environments()
    assert one == Environment(
        "0" * 32, "one", str(tmp_path / "a"), str(path), "down", 0, (path / "uuid").stat().st_mtime
    )
    assert found() == {str(path): "down", str(tmp_path / "b" / "two"): "down"}


def test_what_was_removed_by_hand_is_not_listed(tmp_path: Path) -> None:
    shutil.rmtree(touched(prefix_at(tmp_path / "one")))
    assert found() == {}


def test_a_prefix_that_was_renamed_is_found(tmp_path: Path) -> None:
    touched(prefix_at(tmp_path / "one")).rename(tmp_path / "other")
    assert found() == {str(tmp_path / "other"): "down"}
    assert found() == {str(tmp_path / "other"): "down"}


def test_one_that_was_moved_says_so_until_it_is_touched(tmp_path: Path) -> None:
    path = touched(prefix_at(tmp_path / "a" / "one"))
    (tmp_path / "b").mkdir()
    path.rename(tmp_path / "b" / "one")
    assert found() == {str(path): "moved"}
    touched(tmp_path / "b" / "one")
    assert found() == {str(tmp_path / "b" / "one"): "down"}


def test_one_that_was_cleaned_up_or_is_damaged_is_still_listed(tmp_path: Path) -> None:
    (touched(prefix_at(tmp_path / "one")) / "initialized").unlink()
    (touched(prefix_at(tmp_path / "two", "1")) / "virt" / "env").write_text("{")
    assert found() == {str(tmp_path / "one"): "cleaned up", str(tmp_path / "two"): "refused"}
    [why] = [one.why for one in environments() if one.state == "refused"]
    assert str(tmp_path / "two" / "virt" / "env") in why


@pytest.mark.parametrize("rest", ["", "{", "[]", '{"path": 3, "images": []}'])
def test_a_register_that_is_torn_is_mended_by_the_next_command(tmp_path: Path, rest: str) -> None:
    path = touched(prefix_at(tmp_path / "one"))
    note = Path(registry.register(), ".users", "0" * 32 + ".json")
    note.write_text(rest)
    found()
    touched(path)
    assert found() == {str(path): "down"}
    note.with_suffix("").unlink()
    touched(path)
    shutil.rmtree(path)
    assert found() == {}


def test_prefixes_of_others_are_not_listed(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give files to others")
    path = touched(prefix_at(tmp_path / "one"))
    os.chown(path, 12345, 12345)
    assert found() == {}


def test_a_home_of_somebody_else_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid():
        pytest.skip("only root can give files to others")
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 12345, 12345)
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    touched(prefix_at(tmp_path / "one"))
    assert list(home.iterdir()) == []


def test_a_register_that_cannot_be_written_harms_no_command(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no directory")
    touched(prefix_at(tmp_path / "one"))
    assert found() == {}


def test_many_commands_at_once_lose_none(tmp_path: Path) -> None:
    paths = [prefix_at(tmp_path / f"p{digit}", digit) for digit in "0123456789abcdef"]
    threads = [threading.Thread(target=registry.record, args=(Paths(str(path)),)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found()) == {str(path) for path in paths}


def test_the_command_lists_them_as_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = touched(prefix_at(tmp_path / "work" / "one"))
    assert main(["-f", "json", "list", "--all"]) == 0
    [one] = json.loads(capsys.readouterr().out)
    assert (one["path"], one["workdir"], one["name"], one["state"], one["machines"]) == (
        str(path),
        str(tmp_path / "work"),
        "one",
        "down",
        0,
    )
    assert main(["list", "--all"]) == 0
    assert capsys.readouterr().out == f"{path}\n"


def test_all_takes_no_workdir(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--all", str(tmp_path)]) == 2
    assert "lago: list --all takes no workdir" in capsys.readouterr().err
