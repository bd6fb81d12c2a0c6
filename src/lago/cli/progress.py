"""Machines that come up, one line each: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

from .. import log
from ..errors import printable
from . import output

if TYPE_CHECKING:
    from rich.table import Table

_COLOURS = {"up": "green", "failed": "red"}


@contextlib.contextmanager
def shown(names: Sequence[str], stream: TextIO) -> Iterator[Callable[[str, str], None]]:
    """Context manager: the phases of machines are shown; yields the function to report them to."""
    if stream.isatty() and log.console_shown():
        with _live(names, stream) as report:
            yield report
    else:
        began = time.monotonic()
        yield lambda name, phase: log.say(f"{name}: {phase} ({time.monotonic() - began:.1f} s)")


@contextlib.contextmanager
def counted(name: str, stream: TextIO) -> Iterator[Callable[[int], object]]:
    """Context manager: a step that moves bytes is shown; yields the function to report their numbers to."""
    if not stream.isatty() or not log.console_shown():
        with log.task(name):
            yield lambda _number: None
        return
    from rich.progress import DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=output.console(stream)) as progress, log.quiet_console(), log.task(name):
        bar = progress.add_task(printable(name), total=None)
        yield lambda number: progress.advance(bar, number)


@contextlib.contextmanager
def _live(names: Sequence[str], stream: TextIO) -> Iterator[Callable[[str, str], None]]:
    from rich.live import Live

    board = _Board(names)
    with Live(console=output.console(stream), get_renderable=board.table, refresh_per_second=8), log.quiet_console():
        yield board.report


class _Board:
    def __init__(self, names: Sequence[str]) -> None:
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._phases: dict[str, tuple[str, float | None]] = dict.fromkeys(names, ("waiting", None))

    def report(self, name: str, phase: str) -> None:
        final = time.monotonic() - self._began if phase in _COLOURS else None
        with self._lock:
            self._phases[name] = (phase, final)

    def table(self) -> Table:
        now = time.monotonic() - self._began
        with self._lock:
            rows = [
                (name, output.cell(phase, _COLOURS.get(phase, "yellow")), f"{now if final is None else final:6.1f} s")
                for name, (phase, final) in self._phases.items()
            ]
        return output.table((), rows, show_header=False)
