"""Processes that run only for a part of the time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago.host import pace, waiting
from lago.host.locks import holders, lock_if_free

pytestmark = pytest.mark.programs


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    """A process that uses all the time that it gets."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        yield process
        process.kill()


def used(pid: int) -> float:
    """Seconds of a processor that a process has used (proc(5), stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@contextlib.contextmanager
def paced(process: subprocess.Popen[bytes], share: float, lock: Path) -> Iterator[int]:
    """Context manager: a process is paced by the program, which is found by its lock."""
    fd = lock_if_free(str(lock))
    assert fd is not None
    with waiting.pidfd(process.pid) as its:
        subprocess.run(pace.argv(its, share), pass_fds=[its, fd], check=True)
    os.close(fd)
    [pid] = found(lock)
    yield pid
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    assert until(lambda: not holders(str(lock)))


def found(lock: Path) -> list[int]:
    assert until(lambda: len(holders(str(lock))) == 1)
    return holders(str(lock))


def until(condition: object) -> bool:
    end = time.monotonic() + 60
    while not (true := condition()) and time.monotonic() < end:  # type: ignore[operator]
        time.sleep(0.01)
    return bool(true)


def test_a_process_gets_no_more_than_its_share_and_all_of_it_again_afterwards(
    busy: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    with paced(busy, 0.1, tmp_path / "lock"):
        began, before = time.monotonic(), used(busy.pid)
        assert until(lambda: time.monotonic() - began > 1)
        assert used(busy.pid) - before < 0.25 * (time.monotonic() - began)
        assert used(busy.pid) > before
    assert until(lambda: state(busy.pid) == "R")
    before = used(busy.pid)
    assert until(lambda: used(busy.pid) > before + 0.3)


def test_it_ends_with_the_process(busy: subprocess.Popen[bytes], tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with paced(busy, 0.5, lock):
        busy.kill()
        assert until(lambda: not holders(str(lock)))
