"""Files are opened where others write, and no link is followed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lago import log
from lago.guest import console_log
from lago.host import long_logs
from lago.host.beneath import as_seen_by_others, not_a_link
from lago.virt import memory

LINKS = os.strerror(errno.ELOOP)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that is not meant."""
    path = tmp_path / "secret"
    path.write_text("secret")
    return path


def seen(path: Path) -> str:
    """The path as another process has it, here ourselves."""
    return f"/proc/{os.getpid()}/root{path}"


def test_a_file_is_opened_and_a_link_is_not(tmp_path: Path, secret: Path) -> None:
    (tmp_path / "link").symlink_to(secret)
    for opener in (not_a_link, as_seen_by_others):
        with open(secret, opener=opener) as file:
            assert file.read() == "secret"
        with pytest.raises(OSError, match=LINKS), open(tmp_path / "link", opener=opener):
            pass


def test_no_link_is_followed_on_the_way_either_where_others_see_files(tmp_path: Path, secret: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "file").write_text("theirs")
    (tmp_path / "to").symlink_to(tmp_path / "d")
    with open(seen(tmp_path / "d" / "file"), opener=as_seen_by_others) as file:
        assert file.read() == "theirs"
    with open(seen(tmp_path / "d" / "new"), "w", opener=as_seen_by_others) as file:
        file.write("new")
    assert (tmp_path / "d" / "new").read_text() == "new"
    with pytest.raises(OSError, match=LINKS), open(seen(tmp_path / "to" / "file"), opener=as_seen_by_others):
        pass


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), open(seen(tmp_path / "none"), opener=as_seen_by_others):
        pass


def test_memory_is_written_to_no_link(tmp_path: Path, secret: Path) -> None:
    (tmp_path / "ram").write_bytes(b"memory")
    (tmp_path / "saved").symlink_to(secret)
    with pytest.raises(OSError, match=LINKS):
        memory.save([str(tmp_path / "ram")], str(tmp_path / "saved"))
    with pytest.raises(OSError, match=LINKS):
        memory.blank(str(tmp_path / "saved"), 4096)
    with pytest.raises(OSError, match=LINKS):
        memory.load(str(tmp_path / "ram"), [str(tmp_path / "saved")])
    with pytest.raises(OSError, match=LINKS):
        memory.save([str(tmp_path / "saved")], str(tmp_path / "other"))
    assert secret.read_text() == "secret"


def test_logs_are_neither_written_to_nor_read_through_a_link(tmp_path: Path, secret: Path) -> None:
    path = tmp_path / "lago.log"
    path.symlink_to(secret)
    with pytest.raises(OSError, match=LINKS):
        long_logs.end_of(str(path))
    with pytest.raises(OSError, match=LINKS):
        console_log.tail(str(path), 10)
    handler = log._Own(str(path), delay=True)
    with pytest.raises(OSError, match=LINKS):
        handler._open()
    assert secret.read_text() == "secret"
