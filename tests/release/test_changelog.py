"""Changelogs of throw-away repositories."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from releases import changelog
from releases.version import of_commit

from lago.errors import LagoError

from .conftest import History


def test_text_has_merges_grouped_and_bugs_named(history: History) -> None:
    history.commit("zero", tag="1.0")
    bugs = "Bug-Url: https://bugzilla.example.org/12\nbug-url: https://example.org/a/b/issues/3\n"
    history.commit(f"fix\n\n{bugs}Bug-Url: https://example.org/other")
    history.merge("topic", "first", "second " + "word " * 20)
    hashes = history.git("log", "--format=%h", "--abbrev=8", "--topo-order", "1.0..").splitlines()
    assert changelog.text(changelog.entries(history.path, since="1.0")) == (
        f"* Tue Nov 14 2023 Ada Example - 1.0.4\n"
        f"    {hashes[0]}: Merge branch 'topic'\n"
        f"    {hashes[1]}: second word word word word word word word word word word word\n"
        f"        word word word word word word word word word\n"
        f"    {hashes[2]}: first\n"
        f"\n"
        f"* Tue Nov 14 2023 Ada Example - 1.0.1\n"
        f"    {hashes[3]}: fix\n"
        f"    FIXED BUGS: BZ#12 #3 https://example.org/other\n"
    )


def test_versions_of_entries_are_those_of_their_commits(history: History) -> None:
    history.commit("one", "two", tag="0.1")
    history.merge("a", "three", "four")
    history.git("checkout", "--quiet", "-b", "v0", "0.1")
    history.commit("side", tag="0.2")
    history.git("checkout", "--quiet", "master")
    history.git("merge", "--quiet", "--no-ff", "-m", "merge", "v0")
    history.commit("five", tag="1.0")
    history.merge("b", "six")
    for since in (None, "0.1", "0.1~1", "1.0"):
        found = changelog.entries(history.path, since=since)
        assert [e.version for e in found] == [of_commit(history.path, e.commit.hash) for e in found]
        number = history.git("rev-list", "--count", "HEAD", *([f"^{since}"] if since else []))
        assert sum(len(e.commits) for e in found) == int(number)


def test_where_a_changelog_begins(history: History) -> None:
    def start(ref: str = "HEAD", *, major: bool = False) -> str | None:
        return changelog.start(history.path, ref, major=major)

    history.commit("one")
    assert start() is None
    history.commit("two", tag="1.0")
    assert start() is None
    history.commit("three", tag="1.1")
    assert (start(), start(major=True)) == ("1.0", "1.0")
    history.commit("four")
    assert (start(), start(major=True)) == ("1.1", "1.0")
    history.commit("five", tag="2.0")
    assert start() == "1.0"
    history.commit("six", tag="2.1")
    history.commit("seven")
    assert (start(), start(major=True), start("1.1")) == ("2.1", "2.0", "1.0")


def test_rpm_takes_its_form_whatever_a_subject_says(history: History, tmp_path: Path) -> None:
    history.commit("zero", tag="1.0")
    history.commit("100% of %{name} and %(touch /x)", "* Mon Jan 01 2024 nobody")
    # A commit made by a clock that went wrong.
    history._clock -= 1_000_000
    history.commit("late", "later\n\nBug-Url: https://bugzilla.example.org/5")
    spec = tmp_path / "x.spec"
    head = "Name: x\nVersion: 1\nRelease: 1\nSummary: x\nLicense: x\n%description\nx\n%files\n"
    spec.write_text(f"{head}%changelog\n{changelog.rpm(changelog.entries(history.path, since='1.0'))}")
    argv = ["rpmspec", "-q", "--srpm", "--qf", "[%{CHANGELOGNAME}|%{CHANGELOGTEXT}\n]", str(spec)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    hashes = history.git("log", "--format=%h", "--abbrev=8").splitlines()
    assert done.stdout.splitlines() == [
        f"Ada Example <ada@example.org> - 1.0.4-1|- {hashes[0]}: later BZ#5",
        f"Ada Example <ada@example.org> - 1.0.3-1|- {hashes[1]}: late",
        f"Ada Example <ada@example.org> - 1.0.2-1|- {hashes[2]}: * Mon Jan 01 2024 nobody",
        f"Ada Example <ada@example.org> - 1.0.1-1|- {hashes[3]}: 100% of %{{name}} and %(touch /x)",
    ]


def test_markdown_begins_with_what_matters(history: History) -> None:
    history.commit("zero", tag="1.0")
    history.commit("Command *x* <gone>\n\nsem-ver: api-break")
    history.merge("topic", "New command\n\nsem-ver: feature", "Fix\n\nBug-Url: https://example.org/issues/8")
    merge, fix, new, gone = history.git("log", "--format=%h", "--abbrev=8", "--topo-order", "1.0..").splitlines()
    assert changelog.markdown(changelog.entries(history.path, since="1.0")) == (
        f"## 1.0.4 (2023-11-14)\n\n"
        f"### Incompatible changes\n\n- Command \\*x\\* \\<gone\\> `{gone}`\n\n"
        f"### New features\n\n- New command `{new}`\n\n"
        f"### Fixed bugs\n\n- Fix (#8) `{fix}`\n\n"
        f"### All changes\n\n"
        f"- Merge branch 'topic' `{merge}`\n  - Fix (#8) `{fix}`\n  - New command `{new}`\n"
        f"- Command \\*x\\* \\<gone\\> `{gone}`\n"
    )


def test_sem_ver_lines_ask_for_the_next_tag(history: History) -> None:
    history.commit("zero\n\nsem-ver: api-break", tag="1.4")
    assert changelog.next_tag(history.path) is None
    history.commit("a\n\nsem-ver: bugfix")
    assert changelog.next_tag(history.path) is None
    history.merge("topic", "b\n\nSem-Ver: feature")
    assert changelog.next_tag(history.path) == "1.5"
    history.commit("c\n\nsem-ver: deprecation, api-break")
    assert changelog.next_tag(history.path) == "2.0"


def test_a_start_off_the_branch_is_an_error(history: History) -> None:
    history.commit("one")
    history.git("checkout", "--quiet", "-b", "other")
    history.commit("two")
    history.git("checkout", "--quiet", "master")
    history.commit("three")
    with pytest.raises(LagoError, match="other is not in the history of HEAD"):
        changelog.entries(history.path, since="other")


def test_no_changes_are_no_lines(history: History) -> None:
    history.commit("one", tag="1.0")
    found = changelog.entries(history.path, since="1.0")
    assert (changelog.text(found), changelog.rpm(found), changelog.markdown(found)) == ("", "", "")
