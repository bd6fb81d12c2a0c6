"""What the shell offers when a word is to be completed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lago.environment.prefix import Prefix
from lago.environment.snapshots.index import Index, Snapshot

from ..conftest import make_prefix

pytestmark = pytest.mark.programs


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with a workdir, whose current prefix has snapshots."""
    for name in ("default", "other"):
        make_prefix(tmp_path / ".lago" / name)
    tmp_path.joinpath(".lago", "current").symlink_to("default")
    paths = Prefix(str(tmp_path / ".lago" / "default")).paths
    index = Index.load(paths)
    index.snapshots = {name: Snapshot(name=name, created=1.5, parent=None, vms={}) for name in ("clean", "clear")}
    index.save(paths)
    return tmp_path


def offered(line: str, directory: Path) -> set[str]:
    """What bash would be told for a line with the cursor at its end."""
    answer = directory / "answer"
    answer.write_text("")
    environment = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SHELL": "bash",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        # What the real one holds depends on the tests before.
        "LAGO_TEMPLATE_STORE": str(directory / "store"),
        "COMP_TYPE": "9",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    code = "from lago.cli import run; run()"
    subprocess.run([sys.executable, "-c", code], cwd=directory, env=environment, check=True, capture_output=True)
    return {word.strip() for word in answer.read_text().splitlines()}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("lago st", {"start", "status", "stop"}),
        ("lago graph --f", {"--format"}),
        ("lago graph --format s", {"svg"}),
        ("lago start ", {"vm0"}),
        ("lago shell v", {"vm0"}),
        ("lago set-current ", {"default", "other"}),
        ("lago -P o", {"other"}),
        ("lago template build m", {"mini"}),
        ("lago snapshot ", {"list", "tree", "delete"}),
        ("lago snapshot d", {"delete"}),
        ("lago snapshot delete ", {"clean", "clear"}),
        ("lago snapshot new ", set()),
        ("lago snapshot --delete cle", {"clean", "clear"}),
        ("lago revert ", {"clean", "clear"}),
        ("lago fork copy --from clea", {"clean", "clear"}),
    ],
)
def test_words_are_completed(directory: Path, line: str, words: set[str]) -> None:
    assert words <= offered(line, directory)
    assert {word for word in offered(line, directory) if not word.startswith("-")} <= words | {"--format"}


def test_without_an_environment_there_is_nothing_to_offer(tmp_path: Path) -> None:
    assert {word for word in offered("lago start ", tmp_path) if not word.startswith("-")} == set()
