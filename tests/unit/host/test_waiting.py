"""Bounded waits end in time, see what comes true at the very end, and are woken by the end of a process."""

from __future__ import annotations

import subprocess
import threading
import time

import pytest

from lago.host.waiting import pidfd, poll, wait_for_end, within


class NotYet(Exception):
    """What is tried has not worked yet."""


class TestWithin:
    def test_there_is_one_round_even_without_time(self) -> None:
        assert list(within(0)) == [0.0]

    def test_less_and_less_is_left_and_nothing_in_the_last_round(self) -> None:
        rounds = []
        for left in within(0.05):
            rounds.append(left)
            time.sleep(min(left, 0.01))
        assert rounds[0] == 0.05
        assert rounds == sorted(rounds, reverse=True)
        assert rounds[-1] == 0.0
        assert rounds.count(0.0) == 1

    def test_it_lasts_for_ever_without_a_time(self) -> None:
        rounds = within(None)
        assert all(next(rounds) > 1000 for _ in range(3))


@pytest.mark.programs
class TestEnded:
    def test_the_end_of_a_process_is_what_wakes(self) -> None:
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process, pidfd(process.pid) as fd:
            assert not wait_for_end(fd, 0)
            process.kill()
            assert wait_for_end(fd, 60)
            assert wait_for_end(fd, None)
            assert wait_for_end(fd, 0)

    def test_who_gives_up_waits_no_longer(self) -> None:
        asked = iter([False, False, True])
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process, pidfd(process.pid) as fd:
            assert not wait_for_end(fd, 60, lambda: next(asked))
            assert process.poll() is None

    def test_who_asks_whether_to_give_up_is_woken_too(self) -> None:
        with subprocess.Popen(["true"]) as process, pidfd(process.pid) as fd:
            assert wait_for_end(fd, 60, lambda: False)


class TestPoll:
    def test_it_returns_what_the_first_attempt_returns_that_works(self) -> None:
        tries = []

        def attempt() -> int:
            tries.append(1)
            if len(tries) < 3:
                raise NotYet
            return len(tries)

        assert poll(attempt, 60, threading.Event(), NotYet) == 3

    def test_the_last_failure_is_raised_when_the_time_is_over(self) -> None:
        tries = []

        def attempt() -> None:
            tries.append(1)
            raise NotYet(len(tries))

        with pytest.raises(NotYet) as raised:
            poll(attempt, 0.3, threading.Event(), NotYet)
        assert raised.value.args == (len(tries),)
        assert len(tries) > 1

    def test_another_failure_is_raised_at_once(self) -> None:
        def attempt() -> None:
            raise KeyError

        with pytest.raises(KeyError):
            poll(attempt, 60, threading.Event(), NotYet)

    def test_nothing_is_tried_again_once_it_is_cancelled(self) -> None:
        cancelled = threading.Event()
        tries = []

        def attempt() -> None:
            tries.append(1)
            cancelled.set()
            raise NotYet

        with pytest.raises(NotYet):
            poll(attempt, 60, cancelled, NotYet)
        assert len(tries) == 1
