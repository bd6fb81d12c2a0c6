"""What came from a guest gets its places on this host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lago.unpacking import distribute, stage, tame


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_stage_goes_with_what_is_left_in_it(tmp_path: Path) -> None:
    with stage(str(tmp_path)) as place:
        write(Path(place, "a", "b"))
    assert not list(tmp_path.iterdir())


def test_files_lose_bits_that_give_rights_and_what_is_no_file_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = write(tmp_path / "dir" / "program")
    program.chmod(0o6751)
    os.mkfifo(tmp_path / "dir" / "pipe")
    (tmp_path / "link").symlink_to("/nowhere")
    tame(str(tmp_path))
    assert program.stat().st_mode & 0o7777 == 0o751
    assert sorted(os.listdir(tmp_path / "dir")) == ["program"]
    assert os.readlink(tmp_path / "link") == "/nowhere"
    assert "/dir/pipe is neither a file nor a directory" in caplog.text


def test_parts_within_parts_get_places_of_their_own(tmp_path: Path) -> None:
    write(tmp_path / "stage" / "var" / "log" / "one", "1")
    names = ("/var/log", "/var/log/one", "/var/log/one", "/var")
    distribute(str(tmp_path / "stage"), [(name, str(tmp_path / f"t{n}")) for n, name in enumerate(names)])
    assert (tmp_path / "t0" / "one").read_text() == "1"
    assert (tmp_path / "t1").read_text() == (tmp_path / "t2").read_text() == "1"
    assert (tmp_path / "t3" / "log" / "one").read_text() == "1"


def test_a_tree_is_merged_and_a_file_takes_anothers_place(tmp_path: Path) -> None:
    write(tmp_path / "stage" / "tree" / "sub" / "new", "new")
    write(tmp_path / "stage" / "tree" / "old", "newer")
    write(tmp_path / "target" / "sub" / "kept", "kept")
    write(tmp_path / "target" / "old", "old")
    distribute(str(tmp_path / "stage"), [("/tree", str(tmp_path / "target"))])
    found = {
        str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.glob("target/**/*") if path.is_file()
    }
    assert found == {"target/sub/new": "new", "target/sub/kept": "kept", "target/old": "newer"}


def test_a_link_that_a_guest_made_leads_nowhere_else(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine", "mine")
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "file").symlink_to(mine)
    (tmp_path / "target" / "dir").symlink_to(tmp_path)
    write(tmp_path / "stage" / "tree" / "file", "theirs")
    distribute(str(tmp_path / "stage"), [("/tree", str(tmp_path / "target"))])
    assert mine.read_text() == "mine"
    write(tmp_path / "stage" / "tree" / "dir" / "mine", "theirs")
    with pytest.raises(NotADirectoryError):
        distribute(str(tmp_path / "stage"), [("/tree", str(tmp_path / "target"))])
    assert mine.read_text() == "mine"


def test_a_target_that_is_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(write(tmp_path / "file", "old"))
    write(tmp_path / "stage" / "one", "new")
    distribute(str(tmp_path / "stage"), [("/one", str(tmp_path / "link"))])
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"
