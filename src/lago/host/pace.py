"""A program that lets a process run only for a part of the time, by stopping it again and again.

It needs no rights beyond those over the process, and no control groups. It holds a lock by which it is found, and ends
with the process. A program of its own runs this, so it imports next to nothing.
"""

from __future__ import annotations

import select
import signal
import sys
import time
from typing import TYPE_CHECKING, Final

from . import beside

if TYPE_CHECKING:
    from types import FrameType

_PERIOD: Final = 0.05
"""Seconds between the starts of two runs: short enough for guests not to take it for a hang."""

_LEAST: Final = 0.002
"""Seconds of a run at least, as stopping and waking take time as well."""


def argv(process: int, share: float) -> list[str]:
    """Command line of the program; it is on its own, as `setsid --fork` starts it.

    Args:
        process: pidfd of the process, which the program inherits.
        share: the part of the time, more than 0 and less than 1.
    """
    return beside.argv(__name__, str(process), repr(share))


def main(*words: str) -> None:
    """Stop and continue a process until it ends, or we are told to end; then it goes on.

    Args:
        words: its pidfd, and the part of the time in which it runs.
    """
    process, share = int(words[0]), float(words[1])
    signal.signal(signal.SIGTERM, _end)
    ended = select.poll()
    ended.register(process, select.POLLIN)
    run = max(_LEAST, _PERIOD * share)
    try:
        while True:
            began = time.monotonic()
            if ended.poll(1000 * run):
                return
            signal.pidfd_send_signal(process, signal.SIGSTOP)
            # What a busy host let it run longer, it stands longer.
            if ended.poll(1000 * (time.monotonic() - began) * (1 - share) / share):
                return
            signal.pidfd_send_signal(process, signal.SIGCONT)
    except ProcessLookupError:
        return
    finally:
        _go_on(process)


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit()


def _go_on(process: int) -> None:
    try:
        signal.pidfd_send_signal(process, signal.SIGCONT)
    except ProcessLookupError:
        return
