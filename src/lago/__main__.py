"""Where the programs `lago` and `lagocli`, and `python -m lago`, begin."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn


def run() -> NoReturn:
    """Run the command line. While its modules are read, Ctrl-C ends the program at once and without a traceback."""
    at_interrupt = signal.signal(signal.SIGINT, _leave)
    from .cli import run as run_command_line
    from .ending import in_time

    signal.signal(signal.SIGINT, at_interrupt)
    in_time()
    run_command_line()


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    # An exception would be raised in the middle of the import system, parts of which print it and go on.
    os.write(2, b"lago: interrupted\n")
    os._exit(128 + number)


if __name__ == "__main__":
    run()
