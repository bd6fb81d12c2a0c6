"""Rolling back, waiting and working side by side, as documented."""

from __future__ import annotations

import threading
import time

import pytest

from lago.utils import EggTimer, RollbackContext, VectorThread, func_vector, invoke_in_parallel


class TestRollbackContext:
    def test_what_was_deferred_runs_in_order_at_the_end(self) -> None:
        done: list[str] = []
        with RollbackContext() as rollback:
            rollback.defer(done.append, "second")
            rollback.defer(done.append, "third")
            rollback.prependDefer(done.append, "first")
            assert not done
        assert done == ["first", "second", "third"]

    def test_arguments_are_passed_on(self) -> None:
        done: list[object] = []

        def undo(*args: object, **kwargs: object) -> None:
            done.append((args, kwargs))

        with RollbackContext() as rollback:
            rollback.defer(undo, 1, key=2)
        assert done == [((1,), {"key": 2})]

    def test_what_is_cleared_is_forgotten(self) -> None:
        done: list[str] = []
        with RollbackContext() as rollback:
            rollback.defer(done.append, "never")
            rollback.clear()
        assert not done

    def test_the_exception_of_the_block_is_raised_after_all_ran(self) -> None:
        done: list[str] = []

        def fail() -> None:
            done.append("fails")
            raise KeyError("of the undoing")

        with pytest.raises(ValueError, match="of the block"), RollbackContext() as rollback:  # noqa: PT012
            rollback.defer(fail)
            rollback.defer(done.append, "runs")
            raise ValueError("of the block")
        assert done == ["fails", "runs"]

    def test_the_first_exception_of_the_undoing_is_raised_after_all_ran(self) -> None:
        done: list[str] = []

        def fail(text: str) -> None:
            raise ValueError(text)

        with pytest.raises(ValueError, match="first"), RollbackContext() as rollback:  # noqa: PT012
            rollback.defer(fail, "first")
            rollback.defer(fail, "second")
            rollback.defer(done.append, "runs")
        assert done == ["runs"]


class TestVectorThread:
    def test_all_run_at_once_and_results_are_in_order(self) -> None:
        meeting = threading.Barrier(3, timeout=60)

        def work(number: int) -> int:
            meeting.wait()
            return number

        threads = VectorThread(func_vector(work, [(1,), (2,), (3,)]))
        threads.start_all()
        assert threads.join_all() == [1, 2, 3]

    def test_the_first_failure_is_raised_when_all_have_ended(self) -> None:
        done = []

        def work(number: int) -> None:
            if number < 3:
                raise ValueError(f"number {number}")
            time.sleep(0.05)
            done.append(number)

        threads = VectorThread(func_vector(work, [(1,), (2,), (3,)]))
        threads.start_all()
        with pytest.raises(ValueError, match="number 1"):
            threads.join_all()
        assert done == [3]

    def test_failures_may_be_left_out(self) -> None:
        threads = VectorThread([lambda: 1, lambda: [][0]])
        threads.start_all()
        assert threads.join_all(raise_exceptions=False) == [1, None]
        assert isinstance(threads.exceptions[1], IndexError)


def test_a_function_is_bound_to_each_tuple_of_arguments() -> None:
    assert [bound() for bound in func_vector(pow, [(2, 3), (3, 2)])] == [8, 9]


def test_a_function_is_invoked_with_the_elements_of_all_sequences() -> None:
    assert invoke_in_parallel(pow, [2, 3], [3, 2]) == [8, 9]


def test_an_egg_timer_rings_after_its_time() -> None:
    assert not EggTimer(60).elapsed()
    timer = EggTimer(0.01)
    time.sleep(0.02)
    assert timer.elapsed()
