"""Waiting for what a program says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from lago.errors import LagoError, VMError
from lago.host.until import wait_until


def answers(*said: object) -> Callable[[], object]:
    """A function that returns one after the other, or raises what is an error; the last one for ever."""
    left: Iterator[object] = iter(said)

    def answer() -> object:
        found = next(left, said[-1])
        if isinstance(found, Exception):
            raise found
        return found

    return answer


def test_what_is_true_at_last_is_returned() -> None:
    waited = wait_until(answers(False, None, VMError("it is down"), AssertionError(), [7]), 60, "", threading.Event())
    assert waited == [7]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ((0,), "it was 0"),
        ((None,), "it was None"),
        ((AssertionError("2 members"),), "2 members"),
        ((AssertionError(),), "an assertion failed"),
        ((VMError("n1: no leader", details="x", hint="look"),), "n1: no leader\n    x\nhint: look"),
    ],
)
def test_the_error_has_what_was_waited_for_and_the_last_reason(said: tuple[object, ...], reason: str) -> None:
    with pytest.raises(LagoError) as caught:
        wait_until(answers(*said), 0.3, "a leader", threading.Event())
    assert caught.value == LagoError("waited 0.3 s in vain for a leader", details=f"the last time: {reason}")
    assert caught.value.__cause__ is (said[0] if isinstance(said[0], Exception) else None)


def test_without_words_the_function_is_named() -> None:
    def there_is_a_leader() -> bool:
        return False

    with pytest.raises(LagoError, match=r"in vain for .*there_is_a_leader to be true"):
        wait_until(there_is_a_leader, 0, "", threading.Event())


def test_any_other_error_ends_the_wait_at_once() -> None:
    with pytest.raises(KeyError):
        wait_until(answers(KeyError("typo"), True), 60, "", threading.Event())
