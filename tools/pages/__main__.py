"""`python -m pages PAGE DIRECTORY`: run what a page shows, and make the pictures of the README of it.

They are `terminal.svg`, a recording, and `topology.svg`, what `lago graph` draws of the machines when they run.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyte

from . import film
from .blocks import commands, read
from .reader import environment
from .terminal import Terminal

_COLUMNS, _ROWS = 84, 24
_SPEED = 2.0
"""How many times faster than it was the recording plays."""

_STEP = 0.5
"""Seconds of the run between two frames."""

_THINKS = 1.2
"""Seconds of the recording for which a command stands there before it runs, and its output before the next."""

_LEFT_OUT = ("lago doctor", "lago validate", "mkdir", "ls", "git", "make", "export")


class Recording:
    """What a screen shows while commands run on it."""

    def __init__(self) -> None:
        self._screen = pyte.Screen(_COLUMNS, _ROWS)
        self._screen.set_mode(pyte.modes.LNM)
        self._stream = pyte.Stream(self._screen)
        self._time = 0.0
        self.frames: list[film.Frame] = []

    def run(self, command: str, place: Path) -> None:
        """Run a command in a directory."""
        self._stream.feed(f"\x1b[1;32m$\x1b[0m \x1b[1m{command}\x1b[0m\n")
        self._take(_THINKS)
        began = last = time.monotonic()
        start = self._time

        def seen(text: str) -> None:
            nonlocal last
            self._stream.feed(text)
            if (now := time.monotonic()) - last >= _STEP:
                last = now
                self._time = start + (now - began) / _SPEED
                self._take(0)

        with Terminal(command, place, environment(), columns=_COLUMNS, seen=seen) as terminal:
            terminal.wait(200)
        self._time = start + (time.monotonic() - began) / _SPEED
        self._take(_THINKS)

    def _take(self, stays: float) -> None:
        now = film.frame(self._time, self._screen)
        if not self.frames or now.rows != self.frames[-1].rows:
            self.frames.append(now)
        self._time += stays


def main(page: Path, directory: Path) -> None:
    """Make both pictures."""
    recording = Recording()
    with tempfile.TemporaryDirectory(prefix="lago-pictures-") as room:
        place = Path(room)
        # What it finds out about KVM is remembered, so that nobody is warned in the picture.
        subprocess.run(["lago", "doctor"], cwd=place, check=True, stdout=subprocess.DEVNULL)
        try:
            for block in read(page).blocks:
                if name := block.marks.get("file"):
                    place.joinpath(name).write_text(block.text, encoding="utf-8")
                elif block.language == "console":
                    for line in (command.line for command in commands(block)):
                        if line.startswith(_LEFT_OUT):
                            continue
                        recording.run(line, place)
                        if line == "lago start":
                            _graph(place, directory / "topology.svg")
        finally:
            if (place / ".lago").exists():
                subprocess.run(["lago", "destroy", "--yes"], cwd=place, check=True)
    title = "A terminal: three machines start, talk, break and are reverted"
    text = film.svg(recording.frames, _COLUMNS, title)
    directory.joinpath("terminal.svg").write_text(text, encoding="utf-8")


def _graph(place: Path, picture: Path) -> None:
    subprocess.run(["lago", "graph", "--format", "svg", "--output", picture], cwd=place, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]).resolve())
