"""How what changes for users comes from changes/ into CHANGELOG.md and into announcements."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from releases.notes import notes

from lago.errors import LagoError

from ..users import REPOSITORY
from .conftest import History, tool


@pytest.fixture
def clone(history: History) -> History:
    """A repository with the changelog and the settings of this one, and two changes of its own."""
    for name in ("CHANGELOG.md", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, history.path)
    changes = history.path / "changes"
    changes.mkdir()
    shutil.copy(REPOSITORY / "changes" / "README.md", changes)
    changes.joinpath("+speed.added.md").write_text("Twice\nas `fast`.\n")
    changes.joinpath("7.fixed.md").write_text("It ends.\n")
    history.git("add", "--all")
    history.commit("Changes")
    return history


def collect(place: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What `make changelog` runs."""
    argv = [sys.executable, "-m", "towncrier", "build", *options]
    return subprocess.run(argv, cwd=place, capture_output=True, text=True, check=False)


def test_changes_become_a_section_of_the_changelog_and_the_notes(clone: History) -> None:
    before = (clone.path / "CHANGELOG.md").read_text()
    done = collect(clone.path, "--yes", "--version", "9.1")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in clone.path.joinpath("changes").iterdir()] == ["README.md"]

    after = (clone.path / "CHANGELOG.md").read_text()
    head, old = before.split("## [Unreleased]\n")
    assert after.startswith(f"{head}## [Unreleased]\n\n## [9.1] - ")
    assert after.endswith(old)

    # All of it is in git's index already.
    clone.commit("Collected", tag="9.1")
    told = tool("--repo", str(clone.path), "notes").stdout
    assert told.startswith("### Added\n\n- Twice\n  as `fast`.\n\n### Fixed\n\n- It ends. (#7)\n")


def test_notes_end_where_the_next_section_begins(history: History) -> None:
    sections = "## [Unreleased]\n\n## [2.1] - 2026-03-01\n\nnew\n\n## [2.0] - 2026-02-01\n\n### Added\n\n- old\n"
    history.path.joinpath("CHANGELOG.md").write_text(sections)
    history.git("add", "--all")
    first = history.commit("one", tag="2.0")
    history.commit("two", tag="2.1")
    assert notes(history.path, first) == "### Added\n\n- old"
    assert notes(history.path) == "new"
    history.commit("three", tag="2.2")
    with pytest.raises(LagoError, match=r"no section \[2\.2\]") as caught:
        notes(history.path)
    assert caught.value.hint == "make changelog VERSION=2.2, commit, and tag that commit"


def test_a_change_of_no_known_kind_is_not_lost(clone: History) -> None:
    clone.path.joinpath("changes", "+odd.improved.md").write_text("Odd.\n")
    before = (clone.path / "CHANGELOG.md").read_text()
    done = collect(clone.path, "--yes", "--version", "9.1")
    assert done.returncode != 0
    assert "+odd.improved.md" in done.stdout + done.stderr
    assert (clone.path / "CHANGELOG.md").read_text() == before


def test_the_changes_of_this_repository_can_be_collected() -> None:
    done = collect(REPOSITORY, "--draft", "--version", "Unreleased")
    assert done.returncode == 0, done.stdout + done.stderr
