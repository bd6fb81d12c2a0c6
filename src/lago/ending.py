"""An end within seconds when the program is told to end, whatever it waits for.

Python looks at signals between its own instructions, so one that comes while libvirt waits for a guest's agent, or a
thread for a guest that says nothing, is not heard. What was begun is given a little time to end well; then all ends as
by SIGKILL, and the next command puts right what that left.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Final, NoReturn

PATIENCE: Final = 4
"""Seconds from the signal on, if nothing else is set; the system needs a moment for what is left."""

_ENDING: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_LAST_WORDS: Final = b"lago: ended in the middle of it, as by SIGKILL; the next command puts right what is left\n"


def in_time() -> None:
    """Let this process end within seconds of a signal that tells it to end. It must be handled or end us by itself."""
    read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(read, True)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(read,), daemon=True, name="ending").start()


def _watch(told: int) -> NoReturn:
    while not (numbers := [number for number in os.read(told, 64) if number in _ENDING]):
        pass
    # It ends when we do.
    time.sleep(_patience())
    # Not imported: another thread may be in the midst of that. Where it is not there, no program was started.
    if programs := sys.modules.get("lago.host.programs"):
        # Somebody else's program may take as long as it wants, such as a test run that cleans up.
        programs.wait_for_the_patient()
        programs.kill_all()
    os.write(2, _LAST_WORDS)
    os._exit(128 + numbers[0])


def _patience() -> float:
    config = sys.modules.get("lago.config")
    try:
        return float(config.get("interrupt_timeout")) if config else PATIENCE
    except Exception:
        # Whatever is wrong with settings is told elsewhere.
        return PATIENCE
