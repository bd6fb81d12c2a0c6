"""Bounded waits: for what comes true, and for the end of a process.

The supervisor of a private hypervisor imports this, so it imports next to nothing.
"""

from __future__ import annotations

import math
import os
import select
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    import threading

T = TypeVar("T")

_FOR_EVER: Final = 1e6
"""Seconds that any system call takes as a time-out; there is another round after them."""

_ASKED: Final = 0.5
_FIRST_PACE: Final = 0.2
_PACE: Final = 3.0
_SLOWER: Final = 1.5


def within(seconds: float | None) -> Iterator[float]:
    """Yield what is left of a time, round by round until it is over; see `lago.dirlock.lock` for how it is used.

    The last round has 0 left, so that what comes true at the very end is seen too. There is always one.

    Args:
        seconds: None is for ever.
    """
    if seconds is None:
        while True:
            yield _FOR_EVER
    end, left = time.monotonic() + seconds, seconds
    while left > 0:
        yield left
        left = end - time.monotonic()
    yield 0.0


@contextmanager
def pidfd(pid: int) -> Iterator[int]:
    """Context manager: a descriptor of a process (pidfd_open(2)). Raises ProcessLookupError if it has ended."""
    fd = os.pidfd_open(pid)
    try:
        yield fd
    finally:
        os.close(fd)


def readable(fds: Iterable[int], timeout: float | None) -> list[int]:
    """Wait until something can be read from one of some descriptors, or its other side is closed; which these are.

    None, if that takes longer. Descriptors may have any number: select(2) takes none above 1023.

    Args:
        timeout: seconds; None is for ever.
    """
    return _polled(fds, select.POLLIN, timeout)


def writable(fds: Iterable[int], timeout: float | None) -> list[int]:
    """Wait as `readable` until something can be written."""
    return _polled(fds, select.POLLOUT, timeout)


def _polled(fds: Iterable[int], events: int, timeout: float | None) -> list[int]:
    watched = select.poll()
    for fd in fds:
        watched.register(fd, events)
    # Rounded up: in the last millisecond nothing is gained by asking again and again.
    return [fd for fd, _ in watched.poll(None if timeout is None else math.ceil(1000 * timeout))]


def wait_for_end(process: int, timeout: float | None, given_up: Callable[[], bool] | None = None) -> bool:
    """Wait for the end of a process; whether it came.

    Args:
        process: its pidfd; it need not be a child of ours.
        timeout: seconds; None is for ever.
        given_up: is asked again and again whether to wait no longer.
    """
    for left in within(timeout):
        if given_up is not None and given_up():
            return False
        if readable([process], left if given_up is None else min(left, _ASKED)):
            return True
    return False


def poll(attempt: Callable[[], T], timeout: float, cancelled: threading.Event, not_yet: type[Exception]) -> T:
    """Return what `attempt` returns, which is called again as long as it raises `not_yet`.

    This is for what has no event that could be waited for.

    Args:
        attempt: is called at once, soon again, and then less and less often, every 3 s at last.
        timeout: seconds; what has begun within them is waited for.
        cancelled: when it is set, `attempt` is not called again.
        not_yet: the error that means that trying again may help.

    Raises:
        Exception: the last one, of the type `not_yet`, when the time is over or it is cancelled.
    """
    pace = _FIRST_PACE
    for left in within(timeout):
        try:
            return attempt()
        except not_yet:
            if not left or cancelled.wait(min(pace, left)):
                raise
            pace = min(pace * _SLOWER, _PACE)
    raise AssertionError("the last round has nothing left")
