"""Things done side by side: none goes on behind the back of who was interrupted."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from lago.host.parallel import in_parallel


def test_a_call_whose_start_was_interrupted_has_ended_when_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = threading.Event(), threading.Event()

    def call(_: int) -> None:
        begun.set()
        time.sleep(0.5)
        ended.set()

    def start(thread: threading.Thread, real: object = threading.Thread.start) -> None:
        assert callable(real)
        real(thread)
        assert begun.wait(60)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(KeyboardInterrupt):
            in_parallel(call, [1, 2], what="try")
    assert ended.is_set()


def test_a_call_that_had_not_begun_never_does(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    threads: list[threading.Thread] = []
    go = threading.Event()

    def run(thread: threading.Thread, real: object = threading.Thread.run) -> None:
        assert callable(real)
        assert go.wait(60)
        real(thread)

    def start(thread: threading.Thread, real: object = threading.Thread.start) -> None:
        assert callable(real)
        threads.append(thread)
        real(thread)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "run", run)
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(KeyboardInterrupt):
            in_parallel(done.append, [1], what="try")
    go.set()
    for thread in threads:
        thread.join(60)
    assert done == []


def test_who_is_impatient_twice_still_finds_all_calls_ended() -> None:
    cancelled, ended = threading.Event(), threading.Event()

    def call(_: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        assert cancelled.wait(60)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.5)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        in_parallel(call, [1], what="try", cancel=cancelled.set)
    assert ended.is_set()
