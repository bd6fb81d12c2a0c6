"""Versions from git."""

from __future__ import annotations

import itertools
import os
import subprocess
from pathlib import Path

import pytest
from releases.version import Version, git, of_commit, of_source, package_release

from lago.errors import LagoError

from .conftest import History, tool


def _version(history: History, ref: str = "HEAD") -> str:
    return str(of_commit(history.path, ref))


def _compare(first: str, second: str) -> str:
    """As rpm compares two versions with releases: -1, 0 or 1."""
    script = f'%{{lua: print(rpm.vercmp("{first}", "{second}"))}}'
    return subprocess.run(["rpm", "--eval", script], capture_output=True, text=True, check=True).stdout.strip()


def _full(history: History, ref: str = "HEAD") -> str:
    return f"{of_commit(history.path, ref)}-{package_release(history.path, ref)}"


def test_z_counts_commits_since_the_tag(history: History) -> None:
    history.commit("one", "two", tag="1.0")
    assert _version(history) == "1.0.0"
    history.merge("topic", "three", "four")
    assert _version(history) == "1.0.3"
    history.commit("five", tag="1.10")
    assert (_version(history), _version(history, "1.0"), _version(history, "HEAD~1")) == ("1.10.0", "1.0.0", "1.0.3")


def test_without_a_tag_all_commits_count(history: History) -> None:
    history.commit("one", "two")
    assert _version(history) == "0.0.2"
    assert package_release(history.path) == f"1.{history.git('rev-parse', 'HEAD')[:8]}"


def test_other_tags_do_not_count(history: History) -> None:
    history.commit("one", tag="1.2")
    for tag in ("1.2.3", "v3.0", "4.0-rc1", "05.1", "last"):
        history.commit("more", tag=tag)
    assert _version(history) == "1.2.5"


def test_the_highest_tag_counts_not_the_nearest(history: History) -> None:
    history.commit("one", tag="1.0")
    history.git("branch", "v1")
    history.commit("two", tag="2.0")
    history.git("checkout", "--quiet", "v1")
    history.commit("a fix", tag="1.1")
    assert _version(history) == "1.1.0"
    history.git("checkout", "--quiet", "master")
    history.git("merge", "--quiet", "--no-ff", "-m", "merge", "v1")
    assert _version(history) == "2.0.2"


def test_two_tags_on_one_commit_are_the_higher_one(history: History) -> None:
    history.commit("one", tag="1.9")
    history.git("tag", "-a", "-m", "two", "2.0")
    assert _version(history) == "2.0.0"


def test_an_unknown_commit_is_an_error_with_a_remedy(history: History) -> None:
    history.commit("one")
    with pytest.raises(LagoError, match=r"no commit 9\.9") as caught:
        of_commit(history.path, "9.9")
    assert "git fetch" in caught.value.hint


def test_a_shallow_clone_without_tags_has_a_version(history: History, tmp_path: Path) -> None:
    history.commit("one", tag="1.0")
    history.commit("two")
    clone = tmp_path / "clone"
    history.git("clone", "--quiet", "--depth=1", "--no-tags", f"file://{history.path}", str(clone))
    assert of_source(clone) == "0.0.1"


@pytest.mark.parametrize(("tag", "more", "expected"), [("3.1", 0, "3.1.0"), ("3.1", 4, "3.1.4"), ("", 1, "0.0.0")])
def test_an_archive_of_git_knows_its_version(
    history: History, tmp_path: Path, tag: str, more: int, expected: str
) -> None:
    root = Path(__file__).parents[2]
    for name in (".gitattributes", ".git_archival.txt"):
        (history.path / name).write_bytes((root / name).read_bytes())
    history.git("add", ".")
    history.commit("one", tag=tag)
    history.commit(*["more"] * more)
    history.git("tag", "3.1.9")
    archive = tmp_path / "archive"
    archive.mkdir()
    history.git("archive", "--output", str(tmp_path / "archive.tar"), "HEAD")
    subprocess.run(["tar", "-xf", tmp_path / "archive.tar", "-C", archive], check=True)
    assert of_source(archive) == expected


def test_an_sdist_inside_of_another_clone_has_its_own_version(history: History) -> None:
    history.commit("one", tag="9.0")
    sdist = history.path / "lago-1.2.3"
    sdist.mkdir()
    (sdist / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: lago\nVersion: 1.2.3\n")
    assert of_source(sdist) == "1.2.3"


def test_where_nothing_tells_the_version_is_zero(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: /nowhere\n")
    assert of_source(tmp_path) == "0.0.0"


def test_without_the_program_git_there_is_a_version(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    history.commit("one", tag="1.0")
    monkeypatch.setenv("PATH", "/nowhere")
    assert of_source(history.path) == "0.0.0"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_tree_of_another_user_has_a_version(history: History) -> None:
    history.commit("one", tag="1.0")
    for path in (history.path, *history.path.rglob("*")):
        subprocess.run(["chown", "nobody", path], check=True)
    with pytest.raises(subprocess.CalledProcessError):
        history.git("log")
    assert of_source(history.path) == "1.0.0"


def test_rpm_agrees_on_the_order(history: History) -> None:
    refs = [history.commit("one", tag="0.9"), history.commit("two"), *(history.commit("x") for _ in range(9))]
    refs += [history.commit("three", tag="0.10"), history.commit("four"), history.commit("five", tag="1.0")]
    versions = [_full(history, ref) for ref in refs]
    assert versions[0] == "0.9.0-1"
    assert versions[1] == f"0.9.1-1.{refs[1][:8]}"
    assert versions[-1] == "1.0.0-1"
    assert [_compare(*pair) for pair in itertools.pairwise(versions)] == ["-1"] * (len(versions) - 1)


def test_rpm_accepts_both_forms(history: History, tmp_path: Path) -> None:
    for ref in (history.commit("one", tag="1.0"), history.commit("two")):
        version, _, release = _full(history, ref).partition("-")
        spec = tmp_path / "x.spec"
        head = f"Name: x\nVersion: {version}\nRelease: {release}\nSummary: x\nLicense: x\n"
        spec.write_text(f"{head}%description\nx\n%files\n")
        argv = ["rpmspec", "-q", "--qf", "%{VERSION}-%{RELEASE}", str(spec)]
        assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == f"{version}-{release}"


def test_the_command_prints_versions(history: History) -> None:
    history.commit("one", tag="1.0")
    hash_ = history.commit("two\n\nSem-Ver: Feature")

    def said(*words: str) -> str:
        return tool("--repo", str(history.path), *words).stdout

    assert said("version") == "1.0.1\n"
    assert said("-f", "json", "version") == '"1.0.1"\n'
    assert said("rpm-version") == f"1.0.1-1.{hash_[:8]}\n"
    assert said("version", "--next") == "1.1\n"
    assert git(history.path, "status", "--porcelain") == ""


def test_versions_sort_as_numbers() -> None:
    assert sorted([Version(1, 10), Version(1, 9, 99), Version(0, 99)]) == [
        Version(0, 99),
        Version(1, 9, 99),
        Version(1, 10),
    ]
