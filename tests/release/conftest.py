"""Throw-away git repositories, and packages of this one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..users import REPOSITORY

TOOL = REPOSITORY / "tools" / "release"


def tool(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run `tools/release` and see that it ends with the exit status `code`."""
    done = subprocess.run([TOOL, *words], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


class History:
    """A git repository in the making."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._clock = 1_700_000_000
        path.mkdir(exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=master")

    def git(self, *words: str) -> str:
        """Output of a git command, each a minute later than the one before."""
        self._clock += 60
        date = f"{self._clock} +0000"
        names = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in _IDENTITY.items()}
        env = {**os.environ, **names, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        # `-c` in place of the user's settings, such as signed tags.
        argv = ["git", "-c", "tag.gpgSign=false", "-c", "commit.gpgSign=false", "-C", str(self.path), *words]
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout.strip()

    def commit(self, *messages: str, tag: str = "") -> str:
        """A commit for each message, the last one tagged; its hash."""
        for message in messages:
            self.git("commit", "--quiet", "--allow-empty", "-m", message)
        if tag:
            self.git("tag", tag)
        return self.git("rev-parse", "HEAD")

    def merge(self, branch: str, *messages: str) -> str:
        """A branch with a commit for each message, merged."""
        self.git("checkout", "--quiet", "-b", branch)
        self.commit(*messages)
        self.git("checkout", "--quiet", "-")
        self.git("merge", "--quiet", "--no-ff", "-m", f"Merge branch '{branch}'", branch)
        return self.git("rev-parse", "HEAD")


_IDENTITY = {"NAME": "Ada Example", "EMAIL": "ada@example.org"}


@dataclass(frozen=True)
class Plain:
    """Directories of a name that rpm and apt take for what it is, in place of pytest's."""

    place: str

    def mktemp(self, name: str) -> Path:
        """A new one."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.place))


@pytest.fixture(scope="session", autouse=True)
def tmp_path_factory() -> Iterator[Plain]:
    """Where packages are made and used: rpm has macros, patterns and scripts in which a path is not quoted."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="lt-", dir="/tmp") as place:
        patch.setenv("TMPDIR", place)
        patch.setattr(tempfile, "tempdir", place)
        yield Plain(place)


@pytest.fixture
def tmp_path(tmp_path_factory: Plain) -> Path:
    """One for a test."""
    return tmp_path_factory.mktemp("test")


@pytest.fixture
def history(tmp_path: Path) -> History:
    """An empty git repository."""
    return History(tmp_path / "history")


@pytest.fixture(scope="session")
def lago_history(tmp_path_factory: Plain) -> History:
    """The files of this repository as they are now, as release 2.0 and a commit after it."""
    made = History(tmp_path_factory.mktemp("lago") / "history")
    listed = ["git", "-C", str(REPOSITORY), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("these are not the files of a clone")
    for name in filter(None, done.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (made.path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, made.path / name)
    made.git("add", "--all", "--force")
    made.commit("All files", tag="2.0")
    made.commit("Something new at 100%\n\nsem-ver: feature\nBug-Url: https://bugzilla.example.org/show_bug.cgi?id=7")
    return made


@pytest.fixture(scope="session")
def packages(lago_history: History, tmp_path_factory: Plain) -> Path:
    """All packages of this repository, as version 2.0.1."""
    from releases import build

    output = tmp_path_factory.mktemp("packages")
    build.build(lago_history.path, "HEAD", output, dist="test1")
    return output
