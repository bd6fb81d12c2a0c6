"""What a person sees on a terminal while machines come up."""

from __future__ import annotations

import io
import sys
import threading

import pyte
import pytest

from lago import log
from lago.cli import progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal; `drawn` is set when something is on it."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = threading.Event()

    def write(self, text: str) -> int:
        written = super().write(text)
        if "vm0" in text:
            self.drawn.set()
        return written

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        """The lines on it."""
        screen = pyte.Screen(80, 20)
        screen.set_mode(pyte.modes.LNM)
        pyte.Stream(screen).feed(self.getvalue())
        return [line.rstrip() for line in screen.display if line.strip()]


def test_a_warning_has_a_line_of_its_own_above_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    log.setup_console()
    with progress.shown(["vm0", "vm1"], terminal) as report:
        report("vm0", "up")
        assert terminal.drawn.wait(60)
        log.LOG.warning("something is odd")
        report("vm1", "up")
    log.LOG.warning("still odd")
    warning, vm0, vm1, last = terminal.screen()
    assert (warning, last) == ("WARNING: something is odd", "WARNING: still odd")
    assert vm0.split()[:2] == ["vm0", "up"]
    assert vm1.split()[:2] == ["vm1", "up"]
