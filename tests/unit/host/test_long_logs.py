"""Logs that somebody writes without end."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago.guest import console_log
from lago.host import long_logs
from lago.virt.console import ConsoleCursor

# ctypes runs a program to find the C library.
pytestmark = pytest.mark.programs

MOST = 1 << 20
LINE = b"a line of a log that grows and grows, as guests may say what they like\n"


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def grow(path: Path, size: int = 8 * MOST) -> None:
    add(path, LINE * (size // len(LINE)))


def add(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def occupied(path: Path) -> int:
    return path.stat().st_blocks * 512


def test_a_log_occupies_what_it_may_and_those_who_write_and_read_go_on(tmp_path: Path, directory: int) -> None:
    path = tmp_path / "log"
    grow(path)
    add(path, b"before\n")
    with console_log.Follower({"log": str(path)}) as follower, path.open("ab", buffering=0) as writer:
        assert next(iter(follower.lines()))[1][-1] == "before"
        long_logs.cut_all(directory, MOST)
        assert occupied(path) <= MOST + MOST // 4
        writer.write(b"after\n")
        assert list(follower.lines()) == [("log", ["after"])]
    assert console_log.tail(str(path), 2) == ["before", "after"]
    everything = console_log.tail(str(path), None)
    assert everything[-2:] == ["before", "after"]
    assert MOST // 2 < len("\n".join(everything)) < 2 * MOST
    long_logs.copy(str(path), str(tmp_path / "copy"))
    assert (tmp_path / "copy").stat().st_size < 2 * MOST


def test_what_is_small_or_no_file_is_left_alone(tmp_path: Path, directory: int) -> None:
    grow(tmp_path / "elsewhere")
    (tmp_path / "dir").mkdir()
    inner = tmp_path / "dir" / "log"
    (tmp_path / "dir" / "log").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "dir" / "small").write_bytes(LINE)
    os.mkfifo(tmp_path / "dir" / "pipe")
    fd = os.open(tmp_path / "dir", os.O_RDONLY)
    long_logs.cut_all(fd, MOST)
    os.close(fd)
    assert inner.is_symlink()
    assert occupied(tmp_path / "elsewhere") > 4 * MOST
    assert (tmp_path / "dir" / "small").read_bytes() == LINE
    long_logs.cut_all(directory, MOST)


def test_the_end_of_a_log_is_read_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "log"
    grow(path, 4 * MOST)
    at, data = long_logs.end_of(str(path), MOST)
    assert (at, len(data)) == (path.stat().st_size - MOST, MOST)
    assert console_log.tail(str(path), 3) == [LINE.decode().rstrip()] * 3


def test_a_line_without_end_is_told_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * (3 * console_log._LONGEST))
    with console_log.Follower({"log": str(path)}) as follower:
        assert [len(line) for _, lines in follower.lines() for line in lines] == [3 * console_log._LONGEST]
        assert list(follower.lines()) == []


def test_a_search_goes_on_behind_its_last_match_wherever_the_log_begins(
    tmp_path: Path, directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_logs, "MOST", MOST)
    path, cursor = tmp_path / "log", ConsoleCursor()
    wanted = re.compile(r"(\d)\W+end", re.MULTILINE)

    def found() -> str:
        match = cursor.search(wanted, str(path))
        return match[1] if match else ""

    assert found() == ""
    path.write_bytes("ü\r\n1\r\nend 2 end ".encode())
    assert (found(), found(), found()) == ("1", "2", "")
    grow(path)
    assert found() == ""
    add(path, b"3\r\nend 4 end")
    assert (found(), found(), found()) == ("3", "4", "")
    grow(path)
    long_logs.cut_all(directory, MOST // 2)
    add(path, b"5 end")
    assert (found(), found()) == ("5", "")
