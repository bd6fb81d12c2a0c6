"""Faults in tests: inflicted at their times while a test runs, and healed at its end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from ..environment.faults import words
from ..errors import Errors, LagoError
from ..sdk import Env

MARKER = "lago_fault"
_SOURCES = ("lago_fork", "lago_pristine")


@dataclass(frozen=True)
class Wanted:
    """What a marker asks for.

    Attributes:
        faults: as texts, all or none.
        after: seconds after the test began.
        for_: seconds for which they hold; None: to the end of the test.
    """

    faults: tuple[str, ...]
    after: float = 0.0
    for_: float | None = None


def wanted(node: pytest.Item) -> list[Wanted]:
    """What the markers of a test ask for. Raises LagoError if one can't be read."""
    found = []
    for mark in node.iter_markers(MARKER):
        if set(mark.kwargs) - {"after", "for_"} or not mark.args:
            raise LagoError(f"{MARKER} takes faults, after and for_", hint=f'@pytest.mark.{MARKER}("cut web", after=5)')
        for text in mark.args:
            words.parse(text)
        found.append(Wanted(tuple(mark.args), float(mark.kwargs.get("after", 0)), mark.kwargs.get("for_")))
    return found


def source(request: pytest.FixtureRequest) -> str:
    """Name of the fixture whose environment a test breaks: its own copy, if it has one."""
    return next((name for name in _SOURCES if name in request.fixturenames), "lago_env")


@contextlib.contextmanager
def healed(env: Env, timed: Sequence[Wanted]) -> Iterator[None]:
    """Context manager: faults come and go at their times, and none is left at the end.

    Raises:
        LagoError: one could not be inflicted, or not be healed; all others are healed all the same.
    """
    over, errors = threading.Event(), []
    began = time.monotonic()

    def play(one: Wanted) -> None:
        try:
            if over.wait(began + one.after - time.monotonic()):
                return
            with env.inflict(*one.faults):
                over.wait(one.for_)
        except LagoError as error:
            errors.append(error)

    # What is there from the begin is so when the test begins.
    for one in timed:
        if not one.after and one.for_ is None:
            env.inflict(*one.faults)
    threads = [
        threading.Thread(target=play, args=(one,), name=MARKER) for one in timed if one.after or one.for_ is not None
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
        env.heal()
    if errors:
        raise errors[0] if len(errors) == 1 else Errors("faults of the test failed", errors)
