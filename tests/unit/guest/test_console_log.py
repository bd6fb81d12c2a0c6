"""Console logs that grow."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from lago.guest.console_log import Follower, tail

# ctypes runs a program to find the C library.
pytestmark = pytest.mark.programs


def test_the_last_lines_are_text(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert tail(str(log), None) == []
    log.write_bytes(b"one\r\n\r\r\ntwo \xff\r\nvm login: ")
    assert tail(str(log), None) == ["one", "", "two \ufffd", "vm login: "]
    assert tail(str(log), 2) == ["two \ufffd", "vm login: "]
    assert tail(str(log), 0) == []


def test_lines_are_followed_when_they_are_complete(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"one\ntw")
    with Follower({"a": str(a), "b": str(b)}) as follower:
        assert list(follower.lines()) == [("a", ["one"])]
        assert list(follower.lines()) == []
        with a.open("ab") as file:
            file.write(b"o\r\n\xc3")
            file.flush()
            assert list(follower.lines()) == [("a", ["two"])]
            file.write(b"\xa4\n")
        b.write_bytes(b"new\n")
        assert list(follower.lines()) == [("a", ["ä"]), ("b", ["new"])]


def test_a_log_that_is_replaced_is_read_to_its_end_first(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\n")
    with Follower({"a": str(log)}) as follower:
        assert list(follower.lines()) == [("a", ["one"])]
        with log.open("ab") as file:
            file.write(b"cut sho")
        log.rename(tmp_path / "log.old")
        assert list(follower.lines()) == []
        log.write_bytes(b"again\n")
        assert list(follower.lines()) == [("a", ["cut sho", "again"])]


def test_who_waits_is_woken_by_what_is_written(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Follower({"a": str(log)}) as follower:
        began = time.monotonic()
        follower.wait(0.05)
        assert time.monotonic() - began >= 0.04
        threading.Timer(0.05, lambda: log.write_bytes(b"x\n")).start()
        follower.wait(60)
        assert time.monotonic() - began < 50
        while not (found := list(follower.lines())):
            follower.wait(1)
        assert found == [("a", ["x"])]


def test_the_end_of_the_directory_is_noticed(tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    with Follower({"a": str(directory / "log")}) as follower:
        directory.rmdir()
        follower.wait(5)
        assert follower.gone
    with pytest.raises(FileNotFoundError):
        Follower({"a": str(directory / "log")})
