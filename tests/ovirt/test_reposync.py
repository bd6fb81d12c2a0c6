"""Copies of repositories by dnf."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest

from lago.errors import CommandError, HostError, LockTimeout
from lago.utils import lock_file
from ovirtlago.packages import sync as reposync

from .packages import FOREIGN, MACHINE, Maker, alter


class Synced:
    """A repository with packages a 1.9 and 1.10, and its copy."""

    def __init__(self, make: Maker, place: Path) -> None:
        self.source = make.repository(
            place / "source",
            *(make.rpm("a", "1.9"), make.rpm("a", "1.10"), make.rpm("a", "9", arch="src")),
            *(make.rpm("a", "9", arch=FOREIGN), make.rpm("c", arch="noarch")),
        )
        self.copies = place / "copies"
        self.config = place / "dnf.conf"
        self.configure()

    def configure(self, more: str = "", url: str = "") -> None:
        self.config.write_text(f"[ovirt-el8]\nname=x\nbaseurl={url or self.source.as_uri()}\ngpgcheck=0\n{more}\n")

    def sync(self) -> list[str]:
        """Names of the files of the copy."""
        reposync.sync(str(self.copies), str(self.config), ["ovirt-el8"])
        return sorted(path.name for path in (self.copies / "ovirt-el8").rglob("*.rpm"))


@pytest.fixture
def synced(make: Maker, tmp_path: Path) -> Synced:
    return Synced(make, tmp_path)


def test_a_copy_has_the_newest_packages_and_is_repaired(make: Maker, synced: Synced) -> None:
    whole = [f"a-1.10-1.{MACHINE}.rpm", "c-1.0-1.noarch.rpm"]
    assert synced.sync() == whole
    [package] = synced.copies.rglob("a-*.rpm")
    sound = package.read_bytes()
    alter(package)
    make.into(synced.copies / "ovirt-el8", make.rpm("a", "1.9"))
    [other] = synced.copies.rglob("c-*.rpm")
    other.unlink()
    assert synced.sync() == whole
    assert package.read_bytes() == sound


def test_a_failure_is_reported_unless_the_copy_is_complete_170(
    make: Maker, synced: Synced, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # There is no signature, so that dnf refuses what we can verify.
    synced.configure("repo_gpgcheck=1")
    monkeypatch.setattr(reposync, "_TRIES", 2)
    with pytest.raises(CommandError) as caught:
        synced.sync()
    assert "the copy of ovirt-el8 is not complete" in caught.value.details
    assert f"there is no file a-1.10-1.{MACHINE}.rpm" in caught.value.details
    assert "--skip-sync" in caught.value.hint
    assert sum("trying again" in record.message for record in caplog.records) == 1
    caplog.clear()
    monkeypatch.setattr(reposync, "_TRIES", 1)
    make.into(synced.copies / "ovirt-el8", make.rpm("a", "1.10"), make.rpm("c", arch="noarch"))
    with caplog.at_level(logging.WARNING):
        synced.sync()
    assert "the copy of it is complete" in caplog.records[-1].message


def test_a_repository_that_is_not_there_is_a_failure(synced: Synced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reposync, "_TRIES", 1)
    synced.configure(url=(synced.source / "nothing").as_uri())
    with pytest.raises(CommandError) as caught:
        synced.sync()
    assert "nothing/repodata/repomd.xml" in caught.value.details


def test_dnf_is_not_run_again_when_the_command_is_interrupted(synced: Synced, caplog: pytest.LogCaptureFixture) -> None:
    synced.configure(url=(synced.source / "nothing").as_uri())
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(CommandError):
        reposync.sync(str(synced.copies), str(synced.config), ["ovirt-el8"], cancelled)
    assert "trying again" not in caplog.text


def test_a_place_that_can_not_be_written_to_is_not_one_that_is_busy_d55(
    synced: Synced, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HostError) as refused:
        # Nobody can make directories there, not even root.
        reposync.sync("/sys/kernel/copies", str(synced.config), ["ovirt-el8"])
    assert "/sys/kernel/copies can't be written to" in refused.value.what
    assert "--rpm-repo" in refused.value.hint
    monkeypatch.setattr(reposync, "_PATIENCE", 0.1)
    synced.copies.mkdir()
    with lock_file(str(synced.copies / "repolock"), what="it"), pytest.raises(LockTimeout) as busy:
        synced.sync()
    assert f"in use by process {os.getpid()}" in busy.value.what


def test_dnf_is_needed(synced: Synced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HostError, match="dnf is not installed"):
        synced.sync()
