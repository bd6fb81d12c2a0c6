"""When a verb of Lago is hit: at some share of the time that it takes, or before one of the changes that it makes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..vm.box import Box

_COUNTER = Path(__file__).parent / "killed"
_PATIENCE = 300.0


@dataclass
class Length:
    """How long a verb takes, in seconds and in changes on the disk."""

    seconds: float
    changes: int


def measure(box: Box, words: list[str]) -> Length:
    """Run a verb to its end, and count."""
    count = box.place / "changes.count"
    if box.user:
        count.touch()
        os.chown(count, box.user.uid, box.user.gid)
    began = time.monotonic()
    box.lago(*words, env=_counted(str(count)))
    length = Length(time.monotonic() - began, int(count.read_text()))
    count.unlink()
    return length


def _counted(wish: str) -> dict[str, str]:
    return {"PYTHONPATH": str(_COUNTER), "LAGO_TEST_CHANGE": wish}


@dataclass(frozen=True)
class Hit:
    """What became of a verb that was hit: how it ended, and after how many seconds it or a part of it was killed."""

    code: int
    err: str
    after: float
    what: str
    missed: bool = False


def before_change(box: Box, words: list[str], number: int) -> Hit:
    """Let Lago be killed before its change of that number."""
    began = time.monotonic()
    with box.popen(*words, env=_counted(str(number))) as process:
        out, err = _rest(process)
    what = f"Lago before change {number}"
    return Hit(process.returncode, out + err, time.monotonic() - began, what, missed=process.returncode >= 0)


def at(box: Box, words: list[str], seconds: float, victim: Callable[[int], list[int]], name: str) -> Hit:
    """Kill after some seconds what `victim` finds, given the pid of Lago; if nothing is there yet, as soon as it is."""
    began = time.monotonic()
    with box.popen(*words) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        killed: list[int] = []
        while process.poll() is None and not killed:
            for pid in victim(process.pid)[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
                    killed = [pid]
            time.sleep(0 if killed else 0.005)
        after = time.monotonic() - began
        out, err = _rest(process)
    return Hit(process.returncode, out + err, after, name, missed=not killed)


def _rest(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a process says, which must end."""
    try:
        return process.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"it did not end within {_PATIENCE:.0f} s:\n{out}{err}") from None
