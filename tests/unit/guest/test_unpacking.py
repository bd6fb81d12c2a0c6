"""What came from a guest gets its places on this host."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago.errors import LagoError, VMError
from lago.guest.unpacking import Part, distribute, stage, tree

from ...users import User


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def spread(path: Path, targets: list[tuple[str, Path]]) -> None:
    """Distribute parts that the guest calls what they were asked for as."""
    distribute(str(path), [Part(name, name, str(target)) for name, target in targets], "vm0: it can't be copied")


def test_a_stage_goes_with_what_is_left_in_it(tmp_path: Path) -> None:
    with stage(str(tmp_path)) as place:
        write(Path(place, "a", "b"))
    assert not list(tmp_path.iterdir())


def test_files_lose_bits_that_give_rights_and_what_is_no_file_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree, target = tmp_path / "tree", tmp_path / "target"
    write(tree / "dir" / "program").chmod(0o6751)
    os.mkfifo(tree / "dir" / "pipe")
    (tree / "link").symlink_to("/nowhere")
    write(tmp_path / "tree" / "alone").chmod(0o4755)
    spread(tree, [("/", target), ("/alone", tmp_path / "alone")])
    assert (target / "dir" / "program").stat().st_mode & 0o7777 == 0o751
    assert sorted(os.listdir(target / "dir")) == ["program"]
    assert os.readlink(target / "link") == "/nowhere"
    assert "/dir/pipe is neither a file nor a directory" in caplog.text
    assert (tmp_path / "alone").stat().st_mode & 0o7777 == 0o755


def test_parts_within_parts_get_places_of_their_own(tmp_path: Path) -> None:
    write(tmp_path / "stage" / "var" / "log" / "one", "1")
    names = ("/var/log", "/var/log/one", "/var/log/one", "/var")
    spread(tmp_path / "stage", [(name, tmp_path / f"t{n}") for n, name in enumerate(names)])
    assert (tmp_path / "t0" / "one").read_text() == "1"
    assert (tmp_path / "t1").read_text() == (tmp_path / "t2").read_text() == "1"
    assert (tmp_path / "t3" / "log" / "one").read_text() == "1"


def test_a_tree_is_merged_and_a_file_takes_anothers_place(tmp_path: Path) -> None:
    write(tmp_path / "stage" / "tree" / "sub" / "new", "new")
    write(tmp_path / "stage" / "tree" / "old", "newer")
    write(tmp_path / "target" / "sub" / "kept", "kept")
    write(tmp_path / "target" / "old", "old")
    spread(tmp_path / "stage", [("/tree", tmp_path / "target")])
    found = {
        str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.glob("target/**/*") if path.is_file()
    }
    assert found == {"target/sub/new": "new", "target/sub/kept": "kept", "target/old": "newer"}


def test_a_merged_tree_has_the_modes_and_times_of_the_new_one(tmp_path: Path) -> None:
    for number, place in enumerate(("target", "stage/tree")):
        write(tmp_path / place / "sub" / str(number)).chmod(0o640 + number)
        for directory in (tmp_path / place / "sub", tmp_path / place):
            directory.chmod(0o750 + number)
            os.utime(directory, (number, number))
    spread(tmp_path / "stage", [("/tree", tmp_path / "target")])
    for directory in (tmp_path / "target", tmp_path / "target" / "sub"):
        assert (directory.stat().st_mode & 0o777, directory.stat().st_mtime) == (0o751, 1)


def test_a_link_that_a_guest_made_leads_nowhere_else(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine", "mine")
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "file").symlink_to(mine)
    (tmp_path / "target" / "dir").symlink_to(tmp_path)
    write(tmp_path / "stage" / "tree" / "file", "theirs")
    spread(tmp_path / "stage", [("/tree", tmp_path / "target")])
    assert mine.read_text() == "mine"
    write(tmp_path / "stage" / "tree" / "dir" / "mine", "theirs")
    with pytest.raises(NotADirectoryError) as caught:
        spread(tmp_path / "stage", [("/tree", tmp_path / "target")])
    assert caught.value.filename == str(tmp_path / "target" / "dir")
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("leads_to", ["mine", "nowhere"])
@pytest.mark.parametrize("kind", ["file", "tree"])
def test_a_target_that_is_a_link_is_replaced_and_not_followed(tmp_path: Path, kind: str, leads_to: str) -> None:
    mine = write(tmp_path / "mine", "mine")
    (tmp_path / "link").symlink_to(tmp_path / leads_to)
    write(tmp_path / "stage" / "file", "new")
    write(tmp_path / "stage" / "tree" / "file", "new")
    spread(tmp_path / "stage", [(f"/{kind}", tmp_path / "link")])
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link" / ("file" if kind == "tree" else "")).read_text() == "new"
    assert mine.read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["/file", "/tree"])
def test_a_target_that_is_a_link_to_a_directory_is_refused_and_all_is_as_before(tmp_path: Path, name: str) -> None:
    write(tmp_path / "mine" / "file", "mine")
    (tmp_path / "link").symlink_to("mine")
    write(tmp_path / "stage" / "file", "new")
    write(tmp_path / "stage" / "tree" / "file", "new")
    with pytest.raises(LagoError, match="vm0: it can't be copied, on this host") as caught:
        spread(tmp_path / "stage", [("/file", tmp_path / "other"), (name, tmp_path / "link")])
    assert caught.value.details == f"{tmp_path}/link is a symbolic link to a directory"
    assert f"{tmp_path}/mine" in caught.value.hint
    assert (tmp_path / "mine" / "file").read_text() == "mine"
    assert os.readlink(tmp_path / "link") == "mine"
    assert not (tmp_path / "other").exists()


NO_PATH, NOT_SENT = "what is no plain path", "did not send it, or sent a link on the way"


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("/../mine", NO_PATH),
        ("/tree/../../mine", NO_PATH),
        ("/..", NO_PATH),
        ("mine", NO_PATH),
        ("../mine", NO_PATH),
        ("//tree", NO_PATH),
        ("/tree/", NO_PATH),
        ("/./tree", NO_PATH),
        ("/tree\0", NO_PATH),
        ("/tree" + "/a" * 2048, NO_PATH),
        ("/" + "a" * 300, NOT_SENT),
        ("/nowhere", NOT_SENT),
        ("/to-all/mine", NOT_SENT),
        ("/to-all/mine/file", NOT_SENT),
        ("/tree/file/x", NOT_SENT),
        ("/tree/up/mine", NOT_SENT),
        ("/to-all", "symbolic link"),
        ("/tree/up", "symbolic link"),
        ("/pipe", "neither a file nor a directory"),
    ],
)
def test_what_a_guest_tells_is_never_a_path_of_this_host(tmp_path: Path, told: str, why: str) -> None:
    tree = tmp_path / "stage" / "tree"
    mine = write(tmp_path / "mine" / "file", "mine")
    write(tree / "tree" / "file", "theirs")
    (tree / "to-all").symlink_to(tmp_path)
    (tree / "tree" / "up").symlink_to("../../..")
    os.mkfifo(tree / "pipe")
    parts = [("/good", "/tree", str(tmp_path / "good")), ("/etc/x", told, str(tmp_path / "target"))]
    with pytest.raises(VMError, match=r"^vm0: it can't be copied, on the guest$") as caught:
        distribute(str(tree), [Part(*part) for part in parts], "vm0: it can't be copied")
    assert caught.value.details.startswith("/etc/x: ")
    assert why in caught.value.details
    assert mine.read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["mine", "stage"]


def deepen(path: Path, depth: int, name: str) -> None:
    """Make a tree deeper than paths may be long, with a file at its bottom."""
    path.mkdir()
    fd = os.open(path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
    os.close(fd)


def depth_of(path: Path, name: str) -> int:
    """How deep a tree is, and that there is a file at its bottom."""
    depth, fd = 0, os.open(path, os.O_RDONLY)
    while os.listdir(fd) == [name]:
        below = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=fd)
        os.close(fd)
        depth, fd = depth + 1, below
    assert os.listdir(fd) == ["file"]
    os.close(fd)
    return depth


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A directory for trees that are too deep for what removes the directories of tests."""
    yield tmp_path
    subprocess.run(["rm", "-rf", tmp_path], check=True)


@pytest.mark.programs
@pytest.mark.parametrize(("name", "depth"), [("d", 1100), ("d" * 250, 40)])
def test_a_tree_may_be_deeper_than_processes_may_have_files_open_and_paths_may_be_long(
    deep: Path, name: str, depth: int
) -> None:
    for _ in range(2):
        with stage(str(deep)) as place:
            tree = Path(place, "tree")
            tree.mkdir()
            deepen(tree / "deep", depth, name)
            spread(tree, [("/deep", deep / "one"), (f"/deep/{name}", deep / "two")])
            deepen(tree / "left", depth, name)
    assert depth_of(deep / "one", name) == depth
    assert depth_of(deep / "two", name) == depth - 1
    assert sorted(os.listdir(deep)) == ["one", "two"]


LOCKED = """
import os
from lago.guest.unpacking import Part, distribute, stage, tree

def made(tree):
    os.makedirs(f"{tree}/top/locked/sub")
    for path in (f"{tree}/top/file", f"{tree}/top/locked/sub/file"):
        with open(path, "w") as file:
            file.write("new")
        os.chmod(path, 0)
    os.utime(f"{tree}/top/locked", (1, 1))
    os.chmod(f"{tree}/top/locked/sub", 0o555)
    os.chmod(f"{tree}/top/locked", 0)
    os.chmod(f"{tree}/top", 0o550)

for _ in range(2):
    with stage(".") as place:
        tree = f"{place}/tree"
        os.mkdir(tree)
        made(tree)
        parts = [("/top", "one"), ("/top/locked", "two"), ("/top/locked/sub/file", "three")]
        distribute(tree, [Part(told, told, target) for told, target in parts], "vm0")
        made(f"{tree}/left")
        os.chmod(f"{tree}/left", 0)
print(sorted(os.listdir(".")))
"""


@pytest.mark.programs
def test_an_ordinary_user_gets_trees_that_are_read_only_or_locked_as_they_are(throwaway_user: User) -> None:
    place = throwaway_user.home / "locked"
    place.mkdir()
    throwaway_user.own(place)
    done = throwaway_user.run([sys.executable, "-c", LOCKED], cwd=place)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("['one', 'three', 'two']\n", "")
    modes = {"one": 0o550, "one/file": 0, "one/locked": 0, "one/locked/sub": 0o555, "one/locked/sub/file": 0}
    modes |= {"two": 0, "two/sub": 0o555, "two/sub/file": 0, "three": 0}
    found = {str(path.relative_to(place)): path.stat().st_mode & 0o7777 for path in place.rglob("*")}
    assert found == modes
    assert (place / "one" / "locked").stat().st_mtime == (place / "two").stat().st_mtime == 1
    assert (place / "two" / "sub" / "file").read_text() == "new"


@pytest.mark.programs
def test_what_a_killed_one_left_is_removed_by_the_next_and_what_is_under_way_stays(tmp_path: Path) -> None:
    program = "import os, sys; from lago.guest import unpacking\n"
    program += "with unpacking.tree(sys.argv[1]) as tree: open(f'{tree}/file', 'w').close(); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", program, tmp_path], check=False).returncode == -9
    [left] = tmp_path.iterdir()
    (tmp_path / ".lago-examples").mkdir()
    with tree(str(tmp_path)) as one, tree(str(tmp_path)) as other:
        assert not left.exists()
        assert os.path.isdir(one)
        assert os.path.isdir(other)
    assert os.listdir(tmp_path) == [".lago-examples"]
