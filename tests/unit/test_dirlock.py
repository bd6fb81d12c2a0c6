"""Locks on directories, in the format of earlier releases."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from lago import dirlock
from lago.errors import LockTimeout, PrefixError


def _key(place: Path, name: str) -> str:
    place.joinpath(name).write_text(name * 8)
    return str(place / name)


@pytest.fixture
def directory(tmp_path: Path) -> str:
    tmp_path.joinpath("dir").mkdir()
    return str(tmp_path / "dir")


def test_the_list_of_holders_has_the_form_of_earlier_releases(directory: str, tmp_path: Path) -> None:
    key = _key(tmp_path, "a")
    dirlock.lock(directory, False, key)
    state = json.loads(Path(directory, ".rwlock").read_text())
    assert state == {"excl": False, "users": {key: "a" * 8}}
    dirlock.unlock(directory, key)
    assert json.loads(Path(directory, ".rwlock").read_text()) == {"excl": False, "users": {}}


def test_several_share_and_keep_out_who_wants_it_alone(directory: str, tmp_path: Path) -> None:
    a, b, c = (_key(tmp_path, name) for name in "abc")
    assert dirlock.trylock(directory, False, a)
    assert dirlock.trylock(directory, False, b)
    assert not dirlock.trylock(directory, True, c)
    dirlock.unlock(directory, a)
    assert not dirlock.trylock(directory, True, c)
    dirlock.unlock(directory, b)
    assert dirlock.trylock(directory, True, c)


def test_who_has_it_alone_keeps_out_all_others(directory: str, tmp_path: Path) -> None:
    a, b = _key(tmp_path, "a"), _key(tmp_path, "b")
    assert dirlock.trylock(directory, True, a)
    assert not dirlock.trylock(directory, False, b)
    assert not dirlock.trylock(directory, True, b)


@pytest.mark.parametrize("content", [None, "another"])
def test_a_holder_whose_key_is_gone_or_another_holds_nothing(
    directory: str, tmp_path: Path, content: str | None
) -> None:
    a, b = _key(tmp_path, "a"), _key(tmp_path, "b")
    dirlock.lock(directory, True, a)
    Path(a).unlink() if content is None else Path(a).write_text(content)
    assert dirlock.trylock(directory, False, b)
    assert json.loads(Path(directory, ".rwlock").read_text()) == {"excl": False, "users": {b: "b" * 8}}


def test_locking_waits_until_the_others_are_gone(directory: str, tmp_path: Path) -> None:
    a, b = _key(tmp_path, "a"), _key(tmp_path, "b")
    dirlock.lock(directory, True, a)
    threading.Timer(0.2, dirlock.unlock, [directory, a]).start()
    began = time.monotonic()
    dirlock.lock(directory, True, b, timeout=60)
    assert 0.1 < time.monotonic() - began < 50


def test_d55_waiting_in_vain_says_for_whom_and_bad_places_say_why(directory: str, tmp_path: Path) -> None:
    a, b = _key(tmp_path, "a"), _key(tmp_path, "b")
    dirlock.lock(directory, True, a)
    with pytest.raises(LockTimeout) as raised:
        dirlock.lock(directory, True, b, timeout=0.2)
    assert a in raised.value.details
    with pytest.raises(PrefixError, match="can't be the key"):
        dirlock.trylock(directory, True, str(tmp_path / "none"))
    with pytest.raises(PrefixError, match="is no directory"):
        dirlock.trylock(str(tmp_path / "none"), True, b)
    Path(directory, ".rwlock").write_text("[]")
    with pytest.raises(PrefixError, match="is damaged"):
        dirlock.trylock(directory, True, b)


def test_unlocking_what_is_not_locked_is_nothing(directory: str, tmp_path: Path) -> None:
    dirlock.unlock(directory, _key(tmp_path, "a"))


def test_many_at_once_get_it_one_after_another(directory: str, tmp_path: Path) -> None:
    inside: list[str] = []
    worst: list[int] = []

    def work(key: str) -> None:
        dirlock.lock(directory, True, key, timeout=30)
        inside.append(key)
        worst.append(len(inside))
        inside.remove(key)
        dirlock.unlock(directory, key)

    threads = [threading.Thread(target=work, args=[_key(tmp_path, f"k{n}")]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert worst == [1] * 8
