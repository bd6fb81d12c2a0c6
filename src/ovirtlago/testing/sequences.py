"""Tests of which each builds on those before it: when one fails, the rest is skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

CONTINUE: Final = "continue_on_failure"
"""The marker of a test after whose failure the rest runs all the same."""


class Sequence:
    """What came of a sequence so far."""

    def __init__(self) -> None:
        self._broken_by = ""

    def reason(self) -> str:
        """Why its next test makes no sense; empty if it does."""
        return self._broken_by and f"{self._broken_by} failed, which this builds on"

    def failed(self, name: str) -> None:
        """Note that its test `name` failed, which the rest builds on."""
        self._broken_by = self._broken_by or name


class Step:
    """A test of a sequence, to be called like the function that it is made of."""

    def __init__(self, function: Callable[..., Any], sequence: Sequence) -> None:
        self.__name__ = self.description = getattr(function, "__name__", repr(function))
        self._function = function
        self._sequence = sequence
        self._vital = all(mark.name != CONTINUE for mark in getattr(function, "pytestmark", ()))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        import pytest

        if reason := self._sequence.reason():
            pytest.skip(reason)
        try:
            return self._function(*args, **kwargs)
        except pytest.skip.Exception:
            raise
        except BaseException:
            if self._vital:
                self._sequence.failed(self.__name__)
            raise


def test_sequence_gen(test_list: Iterable[Callable[..., Any]]) -> list[Step]:
    """Make a sequence of the functions of a list: after one of them failed, the rest skips itself.

    A function under `continue_on_failure` does not count. Give the steps to `pytest.mark.parametrize`:

        @pytest.mark.parametrize("step", testlib.test_sequence_gen([add_dc, add_cluster, add_hosts]))
        def test_bootstrap(step):
            step()
    """
    sequence = Sequence()
    return [Step(function, sequence) for function in test_list]
