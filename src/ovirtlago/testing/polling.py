"""Assertions about what takes a while.

An engine tells nobody when something changes, so it is asked: soon at first, then less and less often.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

from lago.host.waiting import poll

from ..constants import LONG_TIMEOUT, SHORT_TIMEOUT

Exceptions = Sequence[type[Exception]]


class _NotYet(Exception):
    """Why it is not as it should be."""


def assert_true_within(func: Callable[[], Any], timeout: float, allowed_exceptions: Exceptions | None = None) -> None:
    """See that `func()` becomes true within `timeout` seconds.

    Args:
        allowed_exceptions: those that mean "not yet"; any other is raised at once. Without it all of them do.

    Raises:
        AssertionError: it did not; says what it returned or raised last.
    """
    _within(func, bool, "true", timeout, allowed_exceptions)


def assert_true_within_short(func: Callable[[], Any], allowed_exceptions: Exceptions | None = None) -> None:
    """Check as `assert_true_within` does, with `SHORT_TIMEOUT`."""
    assert_true_within(func, SHORT_TIMEOUT, allowed_exceptions)


def assert_true_within_long(func: Callable[[], Any], allowed_exceptions: Exceptions | None = None) -> None:
    """Check as `assert_true_within` does, with `LONG_TIMEOUT`."""
    assert_true_within(func, LONG_TIMEOUT, allowed_exceptions)


def assert_equals_within(
    func: Callable[[], Any], value: Any, timeout: float, allowed_exceptions: Exceptions | None = None
) -> None:
    """See that `func()` becomes equal to `value` within `timeout` seconds; for the rest see `assert_true_within`."""
    _within(func, lambda found: bool(found == value), repr(value), timeout, allowed_exceptions)


def assert_equals_within_short(
    func: Callable[[], Any], value: Any, allowed_exceptions: Exceptions | None = None
) -> None:
    """Check as `assert_equals_within` does, with `SHORT_TIMEOUT`."""
    assert_equals_within(func, value, SHORT_TIMEOUT, allowed_exceptions)


def assert_equals_within_long(
    func: Callable[[], Any], value: Any, allowed_exceptions: Exceptions | None = None
) -> None:
    """Check as `assert_equals_within` does, with `LONG_TIMEOUT`."""
    assert_equals_within(func, value, LONG_TIMEOUT, allowed_exceptions)


def _within(
    func: Callable[[], Any],
    good: Callable[[Any], bool],
    wanted: str,
    timeout: float,
    allowed_exceptions: Exceptions | None,
) -> None:
    allowed = (Exception,) if allowed_exceptions is None else tuple(allowed_exceptions)

    def attempt() -> None:
        try:
            found = func()
        except allowed as error:
            raise _NotYet(f"raised {type(error).__name__}: {error}") from error
        if not good(found):
            raise _NotYet(f"returned {found!r}")

    try:
        poll(attempt, timeout, threading.Event(), _NotYet)
    except _NotYet as last:
        raise AssertionError(f"{_name(func)} is not {wanted} after {timeout:g} s, it last {last}") from last.__cause__


def _name(func: Callable[[], Any]) -> str:
    """A function for a person; of a lambda also where it stands."""
    name = getattr(func, "__qualname__", repr(func))
    code = getattr(func, "__code__", None)
    return name if code is None else f"{name} ({os.path.basename(code.co_filename)}:{code.co_firstlineno})"
