"""`lago convert`: where the new form goes, and what is told."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lago.cli.main import main

from ...users import User

OLD = b"\xef\xbb\xbf# caf\xc3\xa9\r\ndomains:\r\n  a:\r\n    cpu: 2\r\n    snapshots: {}\r\n"
NEW = b"\xef\xbb\xbf# caf\xc3\xa9\r\ndomains:\r\n  a:\r\n    vcpu: 2\r\n"
TOLD = (
    "LagoInitFile:4:5: cpu: now vcpu, its name today\n"
    "LagoInitFile:5:5: snapshots: {}: removed, Lago finds this out by itself\n"
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can")


@pytest.fixture(autouse=True)
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "LagoInitFile"
    path.write_bytes(OLD)
    return path


def written(capsysbinary: pytest.CaptureFixture[bytes]) -> tuple[bytes, str]:
    said = capsysbinary.readouterr()
    return said.out, said.err.decode()


def test_it_goes_to_standard_output_and_what_was_changed_to_standard_error(
    old: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["convert"]) == 0
    assert written(capsysbinary) == (NEW, TOLD)
    assert old.read_bytes() == OLD
    old.write_bytes(NEW)
    assert main(["convert", "LagoInitFile"]) == 0
    assert written(capsysbinary) == (NEW, "")


def test_check_says_what_would_change_and_writes_nothing(old: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["convert", "--check"]) == 1
    assert written(capsysbinary) == (b"", TOLD)
    assert (os.listdir(), old.read_bytes()) == (["LagoInitFile"], OLD)
    old.write_bytes(NEW)
    assert main(["convert", "--check"]) == 0
    assert written(capsysbinary) == (b"", "")


@pytest.mark.parametrize("words", [[], ["--check"], ["--output", "new"], ["--in-place"]])
def test_changes_are_data_in_other_formats(words: list[str], capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["-f", "json", "convert", *words]) == int("--check" in words)
    out, err = written(capsysbinary)
    assert json.loads(out) == [
        {"line": 4, "column": 5, "from": "cpu", "to": "vcpu", "why": "its name today"},
        {"line": 5, "column": 5, "from": "snapshots: {}", "to": None, "why": "Lago finds this out by itself"},
    ]
    assert err == TOLD


def test_no_changes_are_an_empty_list(old: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    old.write_bytes(NEW)
    assert main(["-f", "json", "convert"]) == 0
    assert written(capsysbinary) == (b"[]\n", "")


def test_a_new_file_can_be_read_by_those_who_could_read_the_old_one(old: Path) -> None:
    old.chmod(0o600)
    assert main(["convert", "-o", "new"]) == 0
    assert (Path("new").read_bytes(), stat.S_IMODE(os.stat("new").st_mode)) == (NEW, 0o600)
    os.chmod("new", 0o640)
    assert main(["convert", "--output", "new"]) == 0
    assert stat.S_IMODE(os.stat("new").st_mode) == 0o640
    assert old.read_bytes() == OLD


def test_it_is_not_written_over_what_is_read(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("link").symlink_to(old)
    assert main(["convert", "-o", "link"]) == 2
    assert capsys.readouterr().err == "lago: link is the file that is read\nhint: write --in-place\n"
    assert old.read_bytes() == OLD


def test_in_place_the_mode_stays_and_the_file_of_before_beside_it(old: Path) -> None:
    old.chmod(0o640)
    before = old.stat().st_ino
    assert main(["convert", "--in-place"]) == 0
    kept = Path("LagoInitFile.orig")
    assert (old.read_bytes(), kept.read_bytes()) == (NEW, OLD)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (old, kept)] == [0o640, 0o640]
    assert old.stat().st_ino != before
    assert sorted(os.listdir()) == ["LagoInitFile", "LagoInitFile.orig"]


def test_a_file_that_is_right_already_is_not_touched_in_place(old: Path) -> None:
    old.write_bytes(NEW)
    before = old.stat()
    assert main(["convert", "--in-place"]) == 0
    assert (old.stat(), os.listdir()) == (before, ["LagoInitFile"])


def test_a_copy_that_is_there_already_is_never_overwritten(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("LagoInitFile.orig").write_text("precious")
    assert main(["convert", "--in-place"]) == 2
    assert f"{old}.orig exists already; nothing was written\nhint: move it away" in capsys.readouterr().err
    assert (old.read_bytes(), Path("LagoInitFile.orig").read_text()) == (OLD, "precious")
    assert main(["convert", "--in-place", "--no-backup"]) == 0
    assert (old.read_bytes(), Path("LagoInitFile.orig").read_text()) == (NEW, "precious")


def test_no_backup_alone_means_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "--no-backup"]) == 2
    assert "--no-backup is for --in-place" in capsys.readouterr().err


def test_a_link_stays_one_and_what_it_leads_to_is_changed(old: Path) -> None:
    Path("to").mkdir()
    Path("to/link").symlink_to("../LagoInitFile")
    assert main(["convert", "--in-place", "to/link"]) == 0
    assert os.readlink("to/link") == "../LagoInitFile"
    assert old.read_bytes() == NEW
    assert (sorted(os.listdir()), os.listdir("to")) == (["LagoInitFile", "LagoInitFile.orig", "to"], ["link"])


@as_root
def test_a_file_stays_its_owners(old: Path) -> None:
    os.chown(old, 12345, 23456)
    assert main(["convert", "--in-place"]) == 0
    for path in (old, Path("LagoInitFile.orig")):
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


@as_root
@pytest.mark.programs
def test_where_nothing_can_be_written_nothing_changes(base: Path, throwaway_user: User) -> None:
    place = base / "readonly"
    place.mkdir(mode=0o755)
    path = place / "LagoInitFile"
    path.write_bytes(OLD)
    throwaway_user.own(path)
    os.chown(path, throwaway_user.uid, throwaway_user.gid)
    done = throwaway_user.run(["lago", "convert", "--in-place", str(path)])
    assert done.returncode == 2
    assert done.stderr.startswith(f"lago: {path}.orig: Permission denied\nhint: ")
    assert (os.listdir(place), path.read_bytes()) == (["LagoInitFile"], OLD)
    done = throwaway_user.run(["lago", "convert", "--in-place", "--no-backup", str(path)])
    assert (done.returncode, path.read_bytes(), os.listdir(place)) == (2, OLD, ["LagoInitFile"]), done
    assert "Permission denied" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_copy_is_not_left_where_the_file_itself_could_not_be_written(
    old: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The name of the temporary file is too long, that of the copy is not.
    name = "f" * 245
    old.rename(name)
    assert main(["convert", "--in-place", name]) == 2
    assert "File name too long" in capsys.readouterr().err
    assert (os.listdir(), Path(name).read_bytes()) == ([name], OLD)


@pytest.mark.programs
def test_what_is_no_file_is_read_and_not_changed_in_place() -> None:
    argv = [sys.executable, "-m", "lago", "convert", "/dev/stdin"]
    done = subprocess.run(argv, input=OLD, capture_output=True, check=True)
    assert done.stdout == NEW
    done = subprocess.run([*argv, "--in-place"], input=OLD, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"could be changed in place" in done.stderr


def test_what_is_told_can_not_move_the_cursor_of_a_terminal(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old.write_text('domains: {a: {"\u202equux": 1}}\n')
    assert main(["convert", "--check"]) == 1
    assert "\\u202equux" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"domains: {a: \xff}\n", "LagoInitFile:1:14: the file is not UTF-8 text (byte 0xff)"),
        (b"domains: {a: {cpu: 2}\n", "LagoInitFile:"),
        (b"{% if a %}{{ b }}\ndomains: [\n", "hint: placeholders are in it"),
    ],
)
def test_what_is_no_init_file_is_refused_and_stays(
    content: bytes, says: str, old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old.write_bytes(content)
    assert main(["convert", "--in-place"]) == 2
    assert says in capsys.readouterr().err
    assert (os.listdir(), old.read_bytes()) == (["LagoInitFile"], content)
