"""The ids of those who run guests of root's: a block that nobody else has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lago.errors import HostError
from lago.hypervisor import ids

ALL = "0 0 4294967295\n"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tables of a host's: `passwd`, `group`, `subuid`, `subgid`, `uid_map` and `gid_map`."""
    for name in ("passwd", "group", "subuid", "subgid"):
        (tmp_path / name).write_text("")
    for name in ("uid_map", "gid_map"):
        (tmp_path / name).write_text(ALL)
    monkeypatch.setattr(ids, "_TABLES", tuple((str(tmp_path / name), 2) for name in ("passwd", "group")))
    monkeypatch.setattr(ids, "_RANGES", tuple(str(tmp_path / name) for name in ("subuid", "subgid")))
    monkeypatch.setattr(ids, "_MAPS", tuple(str(tmp_path / name) for name in ("uid_map", "gid_map")))
    monkeypatch.setattr(ids, "_has_user", lambda _uid: False)
    return tmp_path


def test_a_block_is_where_nobody_gives_ids_out_and_differs_by_name(host: Path) -> None:
    found = {ids.block(str(number)) for number in range(100)}
    assert len(found) > 90
    assert all(first >= ids._FIRST and first + ids.COUNT - 1 <= ids._LAST for first in found)
    assert ids.block("x") == ids.block("x")


@pytest.mark.parametrize("name", ["passwd", "group"])
def test_a_block_with_a_user_or_a_group_in_it_is_not_taken(host: Path, name: str) -> None:
    first = ids.block("x")
    (host / name).write_text(f"bad line\nsomebody:x:{first + 65535}:{first}::/:/bin/sh\n")
    assert ids.block("x") != first


@pytest.mark.parametrize("name", ["subuid", "subgid"])
@pytest.mark.parametrize(("before", "many"), [(1, 2), (0, 65536), (-65535, 1), (65536 * 10, 65536 * 20)])
def test_a_block_that_meets_subordinate_ids_is_not_taken(host: Path, name: str, before: int, many: int) -> None:
    first = ids.block("x")
    (host / name).write_text(f"somebody:{first - before}:{many}\n")
    other = ids.block("x")
    assert other != first
    assert other + ids.COUNT <= first - before or first - before + many <= other


def test_ids_beside_the_block_are_in_nobodys_way(host: Path) -> None:
    first = ids.block("x")
    (host / "subuid").write_text(f"a:{first - 65536}:65536\nb:{first + 65536}:65536\n")
    assert ids.block("x") == first


def test_a_block_with_a_user_of_a_directory_service_is_not_taken(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ids.block("x")
    monkeypatch.setattr(ids, "_has_user", lambda uid: uid == first)
    assert ids.block("x") != first


def test_where_ids_are_few_the_last_ones_are_taken(host: Path) -> None:
    for name in ("uid_map", "gid_map"):
        (host / name).write_text("0 0 1\n1 100000 399999\n")
    assert ids.block("x") == 400000 - ids.COUNT


@pytest.mark.parametrize("text", ["0 1000 1\n", "0 100000 65536\n"])
def test_where_there_are_too_few_it_is_told(host: Path, text: str) -> None:
    (host / "gid_map").write_text(text)
    with pytest.raises(HostError) as raised:
        ids.block("x")
    assert f"no {ids.COUNT} ids are free for guests, of {text.split()[2]} that there are here" == raised.value.what
    assert "container" in raised.value.hint


def test_this_host_has_a_block() -> None:
    if int(Path("/proc/self/uid_map").read_text().split()[2]) < 1 << 31:
        pytest.skip("few ids")
    first = ids.block(str(os.getpid()))
    assert first % ids.COUNT == ids._FIRST % ids.COUNT
