"""The directories of tests with guests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ..users import REPOSITORY
from ..vm.box import Box
from ..vm.terminal import Terminal

CLOSE = "import pathlib; from tests.vm.box import Box; Box(pathlib.Path.cwd()).close()"


@pytest.mark.programs
def test_whoever_wants_looks_around_before_it_is_removed(tmp_path: Path) -> None:
    env = {"LAGO_TEST_SHELL": "1", "SHELL": "/bin/sh", "PYTHONPATH": str(REPOSITORY), "ENV": ""}
    box = Box(tmp_path, env=env, wrap=[sys.executable, "-c", CLOSE])
    with Terminal(box) as terminal:
        terminal.expect("`exit` removes it.")
        terminal.type("echo in=$PWD session=$LAGO_TEST_SESSION; command -v lago; exit 3\n")
        terminal.expect(f"in={tmp_path} session={os.environ['LAGO_TEST_SESSION']}")
        terminal.expect(f"{REPOSITORY}/.venv/bin/lago")
        assert terminal.wait() == 0
