"""Somebody who does what a page says, in a directory, on a terminal."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from .blocks import Block, Command, commands, shows
from .terminal import Terminal

_PATIENCE = 200.0
_REMEMBER = "trap 'pwd >\"$PAGES_CWD\"' EXIT\n"


class Reader(contextlib.ExitStack):
    """Runs blocks one after the other; what goes on until Ctrl-C is ended at the end of the context.

    Args:
        place: the directory in which it begins.
        env: environment variables of what it runs.
    """

    def __init__(self, place: Path, env: Mapping[str, str]) -> None:
        super().__init__()
        self._place = place
        self._env = dict(env)

    def do(self, block: Block) -> None:
        """Write or run a block.

        Raises:
            AssertionError: what happens is not what the page shows.
        """
        if name := block.marks.get("file"):
            path = self._place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language in ("console", "sh"):
            todo = commands(block)
            for command in todo:
                status = int(block.marks.get("exit status", 0)) if command is todo[-1] else 0
                if "until Ctrl-C" in block.marks:
                    self._begin(block, command)
                else:
                    self._run(block, command, status)
        elif block.language == "python":
            program = Path(self._env["TMPDIR"]) / "page.py"
            program.write_text(block.text, encoding="utf-8")
            self._run(block, Command(f"python {shlex.quote(str(program))}", ()), 0)

    def _run(self, block: Block, command: Command, status: int) -> None:
        cwd = Path(self._env["TMPDIR"]) / "pages-cwd"
        with Terminal(_REMEMBER + command.line, self._place, self._env | {"PAGES_CWD": str(cwd)}) as terminal:
            ended = terminal.wait(_PATIENCE)
            said = terminal.text
        self._place = Path(cwd.read_text(encoding="utf-8").rstrip("\n"))
        assert ended == status, f"{block}: {command.line} ended with {ended} and said\n{said}"
        missing = _missing(command, said)
        assert not missing, f"{block}: {command.line} does not say\n{missing}\nbut\n{said}"

    def _begin(self, block: Block, command: Command) -> None:
        terminal = self.enter_context(Terminal(command.line, self._place, self._env))
        terminal.read_until(lambda: not _missing(command, terminal.text), _PATIENCE)
        assert not _missing(command, terminal.text), f"{block}: {command.line} ended and said\n{terminal.text}"
        self.callback(self._interrupt, block, terminal)

    @staticmethod
    def _interrupt(block: Block, terminal: Terminal) -> None:
        ended = terminal.interrupt(_PATIENCE)
        assert ended == 0, f"{block} ended with {ended} and said\n{terminal.text}"


def _missing(command: Command, said: str) -> str:
    return "\n".join(line for line in command.output if line != "..." and not shows(said, line))


def environment() -> dict[str, str]:
    """Of this process, with nothing that tells programs to print in another way than on a person's terminal."""
    return {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
