"""Snapshots and releases, with packages that are quick to make."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from pathlib import Path

import pytest
from releases import metadata, repository

from lago.errors import CommandError, LagoError

from .conftest import TOOL, tool

_TRUE = "true"


def _built(path: Path, version: str = "2.0.1") -> Path:
    """What `build` leaves, in its layout, with a real RPM and Debian package of nothing."""
    for name in ("rpm/el9", "deb/debian12", "sources", "python"):
        (path / name).mkdir(parents=True)
    (path / "ChangeLog_2.0.txt").write_text(f"changes of {version}\n")
    (path / "sources" / f"lago-{version}.tar.gz").write_text(f"source {version}")
    (path / "python" / f"lago-{version}-py3-none-any.whl").write_text(f"wheel {version}")
    spec = path / "lago.spec"
    head = f"Name: lago\nVersion: {version}\nRelease: 1\nSummary: x\nLicense: x\nBuildArch: noarch\n"
    spec.write_text(f"{head}%description\nx\n%files\n")
    top = path / "top"
    macros = ("--define", f"_topdir {top}", "--define", f"_tmppath {top}/tmp")
    subprocess.run(["rpmbuild", "-bb", "--quiet", *macros, spec], check=True, capture_output=True)
    [package] = top.glob("RPMS/*/*.rpm")
    package.rename(path / "rpm" / "el9" / package.name)
    debian = path / "stage" / "DEBIAN"
    debian.mkdir(parents=True)
    fields = f"Package: lago\nVersion: {version}-1\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: x\n"
    (debian / "control").write_text(fields)
    target = path / "deb" / "debian12" / f"lago_{version}-1_all.deb"
    subprocess.run(["dpkg-deb", "--build", debian.parent, target], check=True, capture_output=True)
    return path


@pytest.fixture
def built(tmp_path: Path) -> Path:
    return _built(tmp_path / "built")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty repository."""
    path = tmp_path / "repository"
    path.mkdir()
    return path


def _tree(path: Path) -> dict[str, str]:
    return {str(p.relative_to(path)): metadata.checksum(p) for p in path.rglob("*") if p.is_file()}


def test_a_snapshot_has_the_documented_layout(built: Path, place: Path) -> None:
    snapshot = repository.publish(built, place)
    assert snapshot == place / "unstable" / "2.0" / "snapshot-lago_2.0_pipeline_1"
    assert os.readlink(snapshot.parent / "latest") == snapshot.name
    assert (snapshot / "rpm" / "el9" / "repodata" / "repomd.xml").is_file()
    packages = gzip.decompress((snapshot / "deb" / "debian12" / "Packages.gz").read_bytes()).decode()
    assert "Filename: ./lago_2.0.1-1_all.deb" in packages
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=snapshot, check=True, capture_output=True)
    assert set(metadata.read_sums(snapshot)) == {
        "ChangeLog_2.0.txt",
        "deb/debian12/lago_2.0.1-1_all.deb",
        "python/lago-2.0.1-py3-none-any.whl",
        "rpm/el9/lago-2.0.1-1.noarch.rpm",
        "sources/lago-2.0.1.tar.gz",
    }
    assert {path.name for path in snapshot.parent.iterdir()} == {"latest", snapshot.name}


def test_apt_reads_a_snapshot(built: Path, place: Path, tmp_path: Path) -> None:
    snapshot = repository.publish(built, place)
    for name in ("state/lists/partial", "cache/archives/partial", "etc"):
        (tmp_path / "apt" / name).mkdir(parents=True)
    (tmp_path / "apt" / "etc" / "sources.list").write_text(f"deb [trusted=yes] file:{snapshot}/deb/debian12 ./\n")
    apt = tmp_path / "apt"
    options = {"Dir::State": apt / "state", "Dir::Cache": apt / "cache", "Dir::Etc": apt / "etc"}
    settings = [f"-o{name}={value}" for name, value in {**options, "APT::Sandbox::User": "root"}.items()]
    subprocess.run(["apt-get", *settings, "update"], check=True, capture_output=True)
    done = subprocess.run(["apt-cache", *settings, "madison", "lago"], capture_output=True, text=True, check=True)
    assert "2.0.1-1" in done.stdout


def test_latest_is_the_highest_number_and_old_ones_go(built: Path, place: Path) -> None:
    for number in (9, 10, 8):
        repository.publish(built, place, number)
    series = place / "unstable" / "2.0"
    assert os.readlink(series / "latest") == "snapshot-lago_2.0_pipeline_10"
    assert repository.publish(built, place, keep=2).name == "snapshot-lago_2.0_pipeline_11"
    assert list(repository.snapshots(series)) == [10, 11]
    assert len(os.listdir(series)) == 3


def test_a_snapshot_is_never_replaced(built: Path, place: Path) -> None:
    repository.publish(built, place, 1)
    before = _tree(place)
    with pytest.raises(LagoError, match="is there already"):
        repository.publish(built, place, 1)
    with pytest.raises(LagoError, match="at least one"):
        repository.publish(built, place, 2, keep=0)
    assert _tree(place) == before


def test_packages_of_two_versions_are_no_snapshot(built: Path, place: Path) -> None:
    (built / "sources" / "lago-2.0.2.tar.gz").write_text("another")
    with pytest.raises(LagoError, match="one version") as caught:
        repository.publish(built, place)
    assert caught.value.details == "there are: 2.0.1, 2.0.2"
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("name", ["rpm/el9/broken.rpm", "deb/debian12/broken.deb"])
def test_what_fails_leaves_no_snapshot(built: Path, place: Path, name: str) -> None:
    (built / name).write_text("no package")
    with pytest.raises(CommandError):
        repository.publish(built, place)
    assert list((place / "unstable" / "2.0").iterdir()) == []
    with pytest.raises(LagoError, match="no packages"):
        repository.publish(place, place)


def test_a_release_is_what_was_checked(built: Path, place: Path, tmp_path: Path) -> None:
    snapshot = repository.publish(built, place)
    script = tmp_path / "check"
    script.write_text('#!/bin/sh\ntest -f "$LAGO_SNAPSHOT/SHA256SUMS" && echo "$1" >> "$0.ran"\n')
    script.chmod(0o755)
    repository.promote(place, snapshot, f"{script} 'one word'")
    assert (tmp_path / "check.ran").read_text() == "one word\n"
    stable = place / "stable" / "2.0"
    assert metadata.read_sums(stable) == metadata.read_sums(snapshot)
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=stable, check=True, capture_output=True)
    assert sorted(os.listdir(stable)) == ["ChangeLog_2.0.txt", "SHA256SUMS", "deb", "python", "rpm", "sources"]
    assert (stable / "rpm" / "el9" / "repodata" / "repomd.xml").is_file()


def test_a_later_release_comes_beside_the_earlier(place: Path, tmp_path: Path) -> None:
    for version in ("2.0.1", "2.1.0"):
        repository.promote(place, repository.publish(_built(tmp_path / version, version), place), _TRUE)
    stable = place / "stable" / "2.0"
    assert len(list(stable.glob("rpm/el9/*.rpm"))) == 2
    assert len(metadata.read_sums(stable)) == 9
    metadata.verify(stable, metadata.read_sums(stable), metadata.read_sums(stable))
    assert (stable / "ChangeLog_2.0.txt").read_text() == "changes of 2.1.0\n"
    packages = (stable / "deb" / "debian12" / "Packages").read_text()
    assert packages.count("Package: lago") == 2


def test_without_its_check_nothing_is_released(built: Path, place: Path) -> None:
    snapshot = repository.publish(built, place)
    with pytest.raises(CommandError) as caught:
        repository.promote(place, snapshot, "sh -c 'echo the reason >&2; exit 3'")
    assert (caught.value.code, caught.value.details) == (3, "the reason")
    assert not (place / "stable").exists()


@pytest.mark.parametrize("check", ["", "'", "/etc/passwd", "no-such-program"])
def test_a_check_that_is_no_command_is_an_error(built: Path, place: Path, check: str) -> None:
    repository.publish(built, place)
    done = tool("promote", str(place), "2.0/latest", "--check", check, code=2)
    assert "release: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (place / "stable").exists()


def test_what_a_killed_publisher_left_goes(built: Path, place: Path) -> None:
    left = place / "unstable" / "2.0" / ".new-half" / "rpm"
    left.mkdir(parents=True)
    assert repository.publish(built, place).name.endswith("_1")
    assert not left.parent.exists()


def test_a_release_is_never_overwritten(built: Path, place: Path, tmp_path: Path) -> None:
    repository.promote(place, repository.publish(built, place), _TRUE)
    before = _tree(place / "stable")
    other = _built(tmp_path / "other")
    (other / "sources" / "lago-2.0.1.tar.gz").write_text("changed")
    with pytest.raises(LagoError, match="released already") as caught:
        repository.promote(place, repository.publish(other, place), _TRUE)
    assert "stable/2.0/sources/lago-2.0.1.tar.gz" in caught.value.details
    assert _tree(place / "stable") == before


def test_a_file_that_nobody_listed_is_not_overwritten(built: Path, place: Path) -> None:
    snapshot = repository.publish(built, place)
    there = place / "stable" / "2.0" / "sources" / "lago-2.0.1.tar.gz"
    there.parent.mkdir(parents=True)
    there.write_text("somebody's")
    with pytest.raises(LagoError, match="released already"):
        repository.promote(place, snapshot, _TRUE)
    assert there.read_text() == "somebody's"


def test_a_promotion_that_was_killed_is_done_again(built: Path, place: Path) -> None:
    snapshot = repository.publish(built, place)
    name = "rpm/el9/lago-2.0.1-1.noarch.rpm"
    half = place / "stable" / "2.0" / name
    half.parent.mkdir(parents=True)
    half.write_bytes((snapshot / name).read_bytes())
    repository.promote(place, snapshot, _TRUE)
    assert metadata.read_sums(place / "stable" / "2.0") == metadata.read_sums(snapshot)


@pytest.mark.parametrize("check", ["true", "sh -c 'echo more >> $LAGO_SNAPSHOT/sources/lago-2.0.1.tar.gz'"])
def test_a_changed_snapshot_is_not_released(built: Path, place: Path, check: str) -> None:
    snapshot = repository.publish(built, place)
    if check == "true":
        (snapshot / "sources" / "lago-2.0.1.tar.gz").write_text("changed")
    with pytest.raises(LagoError, match="not as they were built") as caught:
        repository.promote(place, snapshot, check)
    assert caught.value.details == "sources/lago-2.0.1.tar.gz"
    assert not [path for path in place.glob("stable/**/*") if path.is_file()]


def test_a_dry_run_shows_every_file_and_touches_none(built: Path, place: Path) -> None:
    snapshot = repository.publish(built, place)
    before = _tree(place)
    done = tool("-f", "json", "promote", str(place), "2.0/latest", "--check", "false", "--dry-run")
    assert json.loads(done.stdout) == [
        f"{snapshot}/{name} -> {place}/stable/2.0/{name}" for name in sorted(metadata.read_sums(snapshot))
    ]
    assert _tree(place) == before
    assert not (place / "stable").exists()


def test_an_unknown_snapshot_has_a_near_name(built: Path, place: Path) -> None:
    repository.publish(built, place)
    done = tool("promote", str(place), "snapshot-lago_2.0_pipeline_2", "--check", "true", code=2)
    assert done.stderr.endswith("hint: did you mean snapshot-lago_2.0_pipeline_1?\n")


def test_releases_are_signed(built: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "g"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))
    key = ["--quick-generate-key", "Lago <releases@example.org>", "ed25519", "sign"]
    gpg = ["gpg", "--batch", "--quiet"]
    subprocess.run([*gpg, "--passphrase", "", "--pinentry-mode", "loopback", *key], check=True, capture_output=True)
    try:
        snapshot = repository.publish(built, place)
        with pytest.raises(LagoError, match=r"no secret key nobody@example\.org"):
            repository.promote(place, snapshot, _TRUE, "nobody@example.org")
        assert not (place / "stable").exists()
        repository.promote(place, snapshot, _TRUE, "releases@example.org")
        stable = place / "stable" / "2.0"
        for name in ("SHA256SUMS", "rpm/el9/repodata/repomd.xml"):
            subprocess.run([*gpg, "--verify", stable / f"{name}.asc", stable / name], check=True, capture_output=True)
        subprocess.run([*gpg, "--verify", stable / "deb/debian12/InRelease"], check=True, capture_output=True)
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], check=True)


def test_two_publishers_at_once_make_two_snapshots(built: Path, place: Path) -> None:
    argv = [str(TOOL), "publish", str(built), str(place)]
    both = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate() and process.returncode for process in both] == [0, 0]
    assert list(repository.snapshots(place / "unstable" / "2.0")) == [1, 2]
