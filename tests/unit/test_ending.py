"""What is told to end does so within seconds, whatever it waits for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lago import ending
from lago.host import waiting

pytestmark = pytest.mark.programs

WAITING = """
import os, signal, sys, threading
from lago import ending
from lago.cli.main import _leave
from lago.host.parallel import in_parallel
from lago.host.programs import spawn

for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, _leave)

def wait(kind):
    if kind == "program":
        with spawn(["sleep", "1000"], process_group=0) as process:
            print(process.pid, flush=True)
            threading.Event().wait()
    threading.Event().wait()

ending.in_time()
in_parallel(wait, ["program", "guest"], what="wait")
"""


@contextmanager
def program() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that waits for ever in threads, and the program that one of them has started."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", WAITING], stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, os.pidfd_open(int(process.stdout.readline()))
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_threads_that_wait_for_ever_are_not_waited_for(number: signal.Signals) -> None:
    with program() as (process, theirs):
        began = time.monotonic()
        process.send_signal(number)
        # Whoever is impatient changes nothing.
        process.send_signal(number)
        assert process.wait(60) == 128 + number
        assert time.monotonic() - began >= ending.PATIENCE
        assert waiting.wait_for_end(theirs, 60)
        os.close(theirs)
        assert process.stderr is not None
        assert "ended in the middle of it, as by SIGKILL; the next command" in process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_ends_in_time_ends_as_ever(number: signal.Signals) -> None:
    script = WAITING.partition("def wait")[0] + "ending.in_time()\nprint(flush=True)\nthreading.Event().wait()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(60) == (143 if number == signal.SIGTERM else -signal.SIGINT)
        assert "as by SIGKILL" not in process.stderr.read()


def test_the_program_is_watched() -> None:
    """What the command line begins with says so to a thread of that name."""
    seen = "import threading; print([one.name for one in threading.enumerate()])"
    script = f"import lago.cli; lago.cli.run = lambda: exec({seen!r}); from lago.__main__ import run; run()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "'ending'" in done.stdout


def test_there_is_as_much_time_as_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGO_INTERRUPT_TIMEOUT", "6")
    with program() as (process, theirs):
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        assert process.wait(60) == 128 + signal.SIGINT
        assert time.monotonic() - began >= 6
        os.close(theirs)
    monkeypatch.setenv("LAGO_INTERRUPT_TIMEOUT", "never")
    assert ending._patience() == ending.PATIENCE
