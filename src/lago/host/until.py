"""Waiting until what a program says of several things is true."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from ..errors import LagoError
from .waiting import poll

T = TypeVar("T")


class _NotYet(Exception):
    """It is not true yet; says why, as far as that is known."""


def wait_until(predicate: Callable[[], T], timeout: float, why: str, cancelled: threading.Event) -> T:
    """Return what a predicate returns as soon as that is true; see `lago.sdk.Env.wait_until`."""

    def attempt() -> T:
        try:
            found = predicate()
        except AssertionError as error:
            # What pytest rewrites has many lines.
            raise _NotYet(str(error) or "an assertion failed") from error
        except LagoError as error:
            raise _NotYet(error.render()) from error
        if not found:
            raise _NotYet(f"it was {found!r}")
        return found

    try:
        return poll(attempt, timeout, cancelled, _NotYet)
    except _NotYet as last:
        what = why or f"{getattr(predicate, '__qualname__', predicate)} to be true"
        said = f"waited {timeout:g} s in vain for {what}"
        raise LagoError(said, details=f"the last time: {last}") from last.__cause__
