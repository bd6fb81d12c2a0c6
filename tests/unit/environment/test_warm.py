"""Environments that are kept ready: what they take."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lago.environment import warm

MIB = 1 << 20


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where they are."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "lago" / "warm"


def write(path: Path, mib: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(mib * MIB))


def link(path: Path, to: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.hardlink_to(to)


def test_what_has_several_names_counts_once_and_a_hole_not_at_all(home: Path) -> None:
    write(home / "new" / "images" / "disk", 3)
    link(home / "new" / "images" / "disk.1", home / "new" / "images" / "disk")
    link(home / "old" / "snapshots" / "0.vm0.mem", home / "new" / "images" / "disk")
    write(home / "old" / "snapshots" / "0.vm0.state", 1)
    with (home / "old" / "sparse").open("wb") as file:
        file.truncate(50 * MIB)
    for number, name in enumerate(("new", "old")):
        os.utime(home / name, (1000 - number, 1000 - number))
    taken = [(home / path).stat().st_blocks * 512 for path in ("new/images/disk", "old/snapshots/0.vm0.state")]
    assert [(one.key, one.used, one.size) for one in warm.kept()] == [("new", 1000, taken[0]), ("old", 999, taken[1])]


def test_room_that_is_taken_once_is_not_missed_twice(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home / "new" / "images" / "disk", 3)
    link(home / "old" / "images" / "disk", home / "new" / "images" / "disk")
    for number, name in enumerate(("new", "old")):
        os.utime(home / name, (1000 - number, 1000 - number))
    monkeypatch.setenv("LAGO_WARM_LIMIT", "4")
    assert warm.prune() == []
    assert {path.name for path in home.glob("[!.]*")} == {"new", "old"}
