"""A whole release of this repository, as docs/releasing.md has it."""

from __future__ import annotations

import email
import email.policy
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from releases import announcement

from ..users import REPOSITORY
from .conftest import History, tool

_CHECK = r"""sh -c 'dpkg-deb --info "$LAGO_SNAPSHOT"/deb/*/lago_2.0.1-*.deb >/dev/null'"""


def test_release_of_this_repository(packages: Path, lago_history: History, tmp_path: Path) -> None:
    place = tmp_path / "lago"
    snapshot = tool("publish", str(packages), str(place), "--pipeline", "7", "--keep", "5").stdout.strip()
    assert snapshot == f"{place}/unstable/2.0/snapshot-lago_2.0_pipeline_7"

    promote = ("promote", str(place), "2.0/latest", "--check", _CHECK)
    planned = tool(*promote, "--dry-run").stdout
    assert not (place / "stable").exists()
    assert tool(*promote).stdout == planned
    targets = [line.split(" -> ")[1] for line in planned.splitlines()]
    assert len(targets) == 6
    assert all(Path(target).is_file() for target in targets)
    assert "is released already" in tool(*promote, code=2).stderr

    stable = place / "stable" / "2.0"
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=stable, check=True, capture_output=True)
    assert (stable / "rpm" / "test1" / "repodata" / "repomd.xml").is_file()

    url, to = "https://example.org/lago/", "lago-devel@example.org"
    sender = ("--from", "Ada Example <ada@example.org>")
    said = tool("--repo", str(lago_history.path), "announce", "--url", url, "--to", to, *sender).stdout
    mail = email.message_from_string(said, policy=email.policy.default)
    assert re.fullmatch(r"\[\d\d-\d\d-\d{4}\] New lago release - 2\.0\.1", mail["Subject"])
    assert (mail["To"], mail["From"]) == (to, "Ada Example <ada@example.org>")
    body = mail.get_content()
    assert ": Something new at 100%\n    SEM-VER: feature\n    FIXED BUGS: BZ#7\n" in body
    assert "All files" not in body
    assert "https://example.org/lago/stable/2.0/ChangeLog_2.0.txt\n" in body


def test_the_mail_is_as_documented(history: History) -> None:
    history.commit("one", tag="1.0")
    history.commit("two", tag="1.1")
    hash_ = history.commit("zwölf µ", tag="1.2")
    now = datetime(2026, 3, 9, tzinfo=UTC)
    sender = "Ada <a@example.org>"
    said = announcement.mail(
        history.path, "HEAD", url="https://example.org/x", to="b@example.org", sender=sender, now=now
    )
    mail = email.message_from_bytes(said.encode(), policy=email.policy.default)
    assert mail["Subject"] == "[09-03-2026] New lago release - 1.2.0"
    assert mail["Date"].datetime == now
    assert mail.get_content() == (
        "Hi everyone! There's a new lago release with version 1.2.0 ready for you to\nupgrade!\n\n"
        "Here are the changes:\n\n"
        f"* Tue Nov 14 2023 Ada Example - 1.2.0\n    {hash_[:8]}: zwölf µ\n\n"
        "Packages and sources: https://example.org/x/stable/1.0/\n"
        "Changelog: https://example.org/x/stable/1.0/ChangeLog_1.0.txt\n"
        "Checksums: https://example.org/x/stable/1.0/SHA256SUMS\n\n"
        "Enjoy!\n"
    )


def test_nothing_is_built_of_what_is_unknown(tmp_path: Path) -> None:
    output = tmp_path / "out"
    done = tool("build", "--output", str(output), "rmp", code=2)
    assert "hint: there are: python, rpm, deb" in done.stderr
    done = tool("--repo", str(REPOSITORY), "build", "--ref", "no-such", "--output", str(output), code=2)
    assert "has no commit no-such" in done.stderr
    assert not output.exists()


def test_packages_are_not_built_over_others(lago_history: History, packages: Path) -> None:
    repo = str(lago_history.path)
    before = sorted(packages.rglob("*"))
    done = tool("--repo", repo, "build", "--output", str(packages), "python", code=2)
    assert "are there already" in done.stderr
    assert sorted(packages.rglob("*")) == before


@pytest.mark.slow
def test_what_another_distribution_builds_comes_beside(lago_history: History, packages: Path, tmp_path: Path) -> None:
    output = tmp_path / "packages"
    shutil.copytree(packages, output)
    tool("--repo", str(lago_history.path), "build", "--output", str(output), "--dist", "test2", "deb")
    new = {str(p.relative_to(output)) for p in output.rglob("*.*")} - {
        str(p.relative_to(packages)) for p in packages.rglob("*.*")
    }
    assert [name.rpartition("/")[0] for name in new] == ["deb/test2"]


def test_debian_packages_ask_for_what_packages_txt_names() -> None:
    parts = (REPOSITORY / "packages.txt").read_text().split("# building libvirt-python")[0]
    wanted = {line.split()[0] for line in parts.splitlines() if line and not line.startswith("#")}
    control = (REPOSITORY / "packaging" / "debian" / "control.in").read_text()
    fields = re.search(r"^Depends:.*^Section:", control, re.MULTILINE | re.DOTALL)
    assert fields is not None
    assert wanted - set(re.findall(r"[a-z][a-z0-9.+-]+", fields[0])) == set()
