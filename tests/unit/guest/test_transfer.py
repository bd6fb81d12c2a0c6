"""What a guest may send, by the real programs; only the ssh connection is not there, and each guest is a script."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lago.errors import LagoError, VMError
from lago.guest import transfer
from lago.guest.ssh import Guest
from lago.guest.transfer import copy_from, copy_to, fetch

from ...users import REPOSITORY, User

pytestmark = pytest.mark.programs

Entry = tuple[str, dict[str, Any]]
"""What is in a stream: a name, and what is unusual about it; the keys are those of `tarfile.TarInfo`."""


class ThisHost(Guest):
    """A guest that is this host."""

    def session(self, command: str, attempt: Callable[[list[str]], int]) -> int:
        """Run a command without a connection."""
        return attempt(["sh", "-c", command])

    def check(self, code: int, details: str = "") -> None:
        """There is no connection that could be lost."""


class Hostile(ThisHost):
    """A guest that answers whatever it is asked by the script that its `key` is."""

    def session(self, command: str, attempt: Callable[[list[str]], int]) -> int:
        """Run the script, which gets the command as its argument."""
        return attempt(["sh", "-c", self.key, "sh", command])


GUEST = ThisHost("vm0", "root", "", "", "", list)


def hostile(script: str) -> Guest:
    """A guest that answers by a script."""
    return Hostile("vm0", "root", "", script, "", list)


def stream(path: Path, entries: list[Entry]) -> Path:
    """Write a tar stream."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, unusual in entries:
            info = tarfile.TarInfo(name)
            for key, value in unusual.items():
                setattr(info, key, value)
            data = b"theirs" if info.isreg() else b""
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def answering(names: list[bytes], path: Path) -> Guest:
    """A guest that tells these names, whatever it is asked for, and then sends a stream."""
    path.with_suffix(".names").write_bytes(b"".join(name + b"\0" for name in names))
    return hostile(shlex.join(["exec", "cat", str(path.with_suffix(".names")), str(path)]))


@pytest.mark.parametrize(
    "script",
    [
        "exec sleep 1000",
        "printf /x; exec sleep 1000",
        "printf '/x\\0'; exec sleep 1000",
        "printf '/x\\0'; tar -c -f - -C / ./dev/null | head -c 100; exec sleep 1000",
        "printf '\\0'; exec >&- 2>&-; exec sleep 1000",
    ],
)
def test_a_guest_that_falls_silent_is_given_up(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_IDLE", 0.5)
    with pytest.raises(VMError, match=r"nothing went on for 0\.5 s"):
        copy_from(hostile(script), "/x", str(tmp_path / "got"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", ["exec sleep 1000", "cat >/dev/null; exec >&- 2>&-; exec sleep 1000"])
def test_a_guest_that_takes_nothing_is_given_up(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_IDLE", 0.5)
    (tmp_path / "large").write_bytes(bytes(1 << 20))
    with pytest.raises(VMError, match=r"nothing went on for 0\.5 s"):
        copy_to(hostile(script), str(tmp_path / "large"), "/x")


def link(to: str) -> dict[str, Any]:
    return {"type": tarfile.SYMTYPE, "linkname": to}


def hard(to: str) -> dict[str, Any]:
    return {"type": tarfile.LNKTYPE, "linkname": to}


DIRECTORY: dict[str, Any] = {"type": tarfile.DIRTYPE, "mode": 0o777}
SHARED = {**DIRECTORY, "mode": 0o2775}
"""A directory with a mode that no link has."""


class Host:
    """Files of ours beside the directory `target` that a guest's files go to."""

    def __init__(self, path: Path) -> None:
        self.mine = path / "mine"
        self.target = path / "target"
        self.target.mkdir()
        (self.mine / "dir").mkdir(parents=True)
        for place in (self.mine / "file", self.mine / "dir" / "file", path / "hostfile"):
            place.write_text("mine")
            place.chmod(0o600)
        (self.mine / "dir").chmod(0o700)
        self._path = path
        self._before = self._all()

    def _all(self) -> dict[str, tuple[int, int, int, str]]:
        found = {}
        for path in (path for path in self._path.rglob("*") if self.target not in path.parents):
            status = path.lstat()
            content = path.read_text() if path.is_file() else ""
            mtime = 0 if path in (self._path, self.target) else status.st_mtime_ns
            found[str(path)] = (status.st_mode, status.st_nlink if path.is_file() else 0, mtime, content)
        return found

    def is_untouched(self) -> bool:
        """Whether all but the target is as it was."""
        return self._all() == self._before


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Files that a guest must not reach."""
    (tmp_path / "host").mkdir()
    return Host(tmp_path / "host")


UP = "../../.."


def _streams(mine: str) -> dict[str, tuple[list[Entry], bytes]]:
    """Hostile streams, and what the guest then calls the file that it was asked for."""
    return {
        "a name with dots": ([("./x", {})], b"/../../hostfile"),
        "a relative name": ([("./x", {})], b"../../hostfile"),
        "a path of the host": ([("./x", {})], f"{mine}/file".encode()),
        "a name through a link": ([("./l", link(mine))], b"/l/file"),
        "a name through a relative link": ([("./a/b/l", link(f"{UP}/../../mine"))], b"/a/b/l/dir"),
        "a link as the file itself": ([("./l", link(f"{mine}/file"))], b"/l"),
        "a link as the directory itself": ([("./l", link(mine))], b"/l"),
        "a link to a link": ([("./l", link("m")), ("./m", link(mine))], b"/l"),
        "a hard link to a path of the host": ([("./h", hard(f"{mine}/file"))], b"/h"),
        "a hard link out of the tree": ([("./a/h", hard(f"{UP}/mine/file"))], b"/a/h"),
        "a hard link through a link": ([("./l", link(mine)), ("./h", hard("./l/file"))], b"/h"),
        "a hard link to a link": ([("./l", link(f"{mine}/file")), ("./h", hard("./l"))], b"/h"),
        "a file through a link": ([("./l", link(mine)), ("./l/file", {})], b"/l"),
        "a file through a link with dots": ([("./l", link(f"{UP}/mine")), ("./l/file", {})], b"/l/file"),
        "a file over a link": ([("./l", link(f"{mine}/file")), ("./l", {})], b"/../mine/file"),
        "a file by dots": ([("./../../mine/file", {})], b"/x"),
        "a file by a path of the host": ([(f"{mine}/file", {})], b"/x"),
        "a link in a directory's place": (
            [("./d", DIRECTORY), ("./d/e", DIRECTORY), ("./d/e", link(f"{mine}/dir")), ("./d/e/file", {})],
            b"/d/e/file",
        ),
        "a directory in a link's place": (
            [("./l", link(f"{mine}/dir")), ("./l", DIRECTORY), ("./l/file", {}), ("./l", link(mine))],
            b"/l/dir/file",
        ),
        "a mode through a link": (
            [("./d", DIRECTORY), ("./d", link(f"{mine}/dir")), ("./d", DIRECTORY), ("./d/", DIRECTORY)],
            b"/d/../d",
        ),
        # These need a file system that uses the numbers of inodes again, such as ext4.
        "a link that has taken a directory's place under another name": (
            [("./d/", SHARED), ("d", link(mine)), ("./", DIRECTORY)],
            b"/d",
        ),
        "a link that has taken the place of a directory that was emptied": (
            [("./d/", SHARED), ("./d/l", link(mine)), ("d/l", hard(".")), ("d", link(mine))],
            b"/d",
        ),
        "a pipe": ([("./p", {"type": tarfile.FIFOTYPE})], b"/p"),
        "a file that it did not send": ([("./x", {})], b"/y"),
        "no file at all": ([], b"/"),
        "the top as a link": ([("./", link(mine))], b"/"),
        "the top of which all may be read": ([("./", {**DIRECTORY, "mode": 0})], b"/x"),
    }


@pytest.mark.parametrize("case", _streams(""))
def test_a_hostile_stream_touches_nothing_but_the_target(host: Host, tmp_path: Path, case: str) -> None:
    entries, told = _streams(str(host.mine))[case]
    guest = answering([told], stream(tmp_path / "stream", entries))
    # What depends on the numbers of inodes depends on what others do, too.
    for _ in range(4):
        with contextlib.suppress(LagoError):
            copy_from(guest, "/etc/hostname", str(host.target / "got"))
        assert host.is_untouched()
        assert set(os.listdir(host.target)) <= {"got"}
        assert not (host.target / "got").is_symlink()
        # What is there is the guest's, or nothing, and a write to it is one to nothing else.
        if (host.target / "got").is_file():
            (host.target / "got").write_text("changed")
            assert host.is_untouched()


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("a name with dots", "no plain path"),
        ("a path of the host", "did not send it"),
        ("a name through a link", "sent a link on the way there"),
        ("a link as the file itself", "sent a symbolic link"),
        ("a pipe", "neither a file nor a directory"),
    ],
)
def test_what_is_refused_is_told_with_the_guest_and_the_path(host: Host, tmp_path: Path, case: str, why: str) -> None:
    entries, told = _streams(str(host.mine))[case]
    guest = answering([told], stream(tmp_path / "stream", entries))
    with pytest.raises(VMError, match=r"vm0: /etc/hostname can't be copied to .*target, on the guest") as caught:
        fetch(guest, {"/etc/hostname": "got"}, str(host.target))
    assert caught.value.details.startswith("/etc/hostname: ")
    assert why in caught.value.details


def test_of_several_paths_none_comes_if_one_is_refused(host: Host, tmp_path: Path) -> None:
    entries: list[Entry] = [("./d/x", {}), ("./d/l", link(str(host.mine)))]
    for told in (b"/d/l", b"/d/l/file", b"/d/../../../mine/file"):
        guest = answering([b"/d", told], stream(tmp_path / "stream", entries))
        with pytest.raises(VMError, match="on the guest"):
            fetch(guest, {"/d": "one", "/d/l": "two"}, str(host.target))
        assert not os.listdir(host.target)
        assert host.is_untouched()


def test_a_tree_that_comes_a_second_time_leads_nowhere_by_the_links_of_the_first(host: Host, tmp_path: Path) -> None:
    first: list[Entry] = [("./d/l", link(str(host.mine))), ("./d/f", link(str(host.mine / "file")))]
    second: list[Entry] = [("./d/l/file", {}), ("./d/l/dir", {**DIRECTORY, "mode": 0o777}), ("./d/f", {})]
    copy_from(answering([b"/d"], stream(tmp_path / "stream", first)), "/d", str(host.target))
    assert os.readlink(host.target / "d" / "l") == str(host.mine)
    with pytest.raises(LagoError, match="on this host") as caught:
        copy_from(answering([b"/d"], stream(tmp_path / "stream", second)), "/d", str(host.target))
    assert str(host.target / "d" / "l") in caught.value.details
    copy_from(answering([b"/d"], stream(tmp_path / "stream", second[2:])), "/d", str(host.target))
    assert (host.target / "d" / "f").read_text() == "theirs"
    assert host.is_untouched()
    assert os.listdir(host.target) == ["d"]


def test_bits_that_give_rights_are_lost(tmp_path: Path) -> None:
    guest = answering([b"/x"], stream(tmp_path / "stream", [("./x", {"mode": 0o6755})]))
    copy_from(guest, "/x", str(tmp_path / "got"))
    assert (tmp_path / "got").stat().st_mode & 0o7777 == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make devices")
def test_devices_are_left_out_or_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    null = {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3, "mode": 0o666}
    guest = answering([b"/d"], stream(tmp_path / "stream", [("./d/null", null), ("./d/x", {})]))
    copy_from(guest, "/d", str(tmp_path / "got"))
    assert os.listdir(tmp_path / "got") == ["x"]
    assert "/d/null is neither a file nor a directory" in caplog.text
    guest = answering([b"/d/null"], tmp_path / "stream")
    with pytest.raises(VMError) as caught:
        copy_from(guest, "/d/null", str(tmp_path / "null"))
    assert caught.value.details == "/d/null: it is neither a file nor a directory"


def test_options_for_tar_that_a_user_has_set_do_not_make_it_careless(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAR_OPTIONS", "--absolute-names --overwrite --keep-directory-symlink")
    entries: list[Entry] = [(f"{host.mine}/file", {}), ("./x", {})]
    with pytest.raises(LagoError):
        copy_from(answering([b"/y"], stream(tmp_path / "stream", entries)), "/y", str(host.target / "got"))
    assert host.is_untouched()


@pytest.mark.parametrize("length", [1 << 20, 1 << 24])
def test_a_name_without_an_end_is_refused_soon(tmp_path: Path, length: int) -> None:
    began = time.process_time()
    with pytest.raises(VMError, match=r"vm0: /etc/hostname can't be copied to .*, on the guest") as caught:
        copy_from(hostile(f"head -c {length} /dev/zero | tr '\\0' x; sleep 60"), "/etc/hostname", str(tmp_path / "got"))
    assert caught.value.details == "/etc/hostname: the guest calls it by an endless name"
    assert time.process_time() - began < 5
    assert not os.listdir(tmp_path)


def test_a_name_that_is_said_to_have_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 3 << 30
    (tmp_path / "header").write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    script = f"printf '/x\\0'; cat {shlex.quote(str(tmp_path / 'header'))}; head -c 3G /dev/zero; exit 0"
    with pytest.raises(LagoError, match="on this host") as caught:
        copy_from(hostile(script), "/x", str(tmp_path / "got"))
    assert "memory exhausted" in caught.value.details
    assert os.listdir(tmp_path) == ["header"]


def test_the_longest_of_paths_is_taken(tmp_path: Path) -> None:
    name = "/" + "/".join(["d" * 250] * 15 + ["x" * 200])
    guest = answering([name.encode()] * 20, stream(tmp_path / "stream", [(f".{name}", {})]))
    (tmp_path / "got").mkdir()
    assert fetch(guest, {f"/{number}": str(number) for number in range(20)}, str(tmp_path / "got")) == []
    assert {path.read_text() for path in (tmp_path / "got").iterdir()} == {"theirs"}
    assert len(os.listdir(tmp_path / "got")) == 20


def test_a_guest_that_ends_within_its_names_has_nothing(tmp_path: Path) -> None:
    with pytest.raises(VMError, match="on the guest") as caught:
        fetch(hostile("printf '/x\\0/y'; exit 3"), {"/x": "x", "/y": "y"}, str(tmp_path))
    assert caught.value.details == "exit status 3"
    assert not os.listdir(tmp_path)


def test_of_what_a_guest_complains_the_last_lines_are_kept(tmp_path: Path) -> None:
    many = "i=0; while [ $i -lt 20000 ]; do echo this is line $i; i=$((i + 1)); done >&2; exit 3"
    with pytest.raises(VMError) as caught:
        copy_from(hostile(many), "/x", str(tmp_path / "x"))
    lines = caught.value.details.splitlines()
    assert lines[-1] == "this is line 19999"
    assert lines[0].startswith("this is line 1")
    assert 100 < len(lines) < 2000
    (tmp_path / "x").touch()
    with pytest.raises(VMError) as caught:
        copy_to(hostile(f"cat >/dev/null; {many}"), str(tmp_path / "x"), "/x")
    assert caught.value.details.splitlines() == lines


def test_complaints_of_any_length_take_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They once went to a file of the temporary directory."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(VMError) as caught:
        copy_from(hostile("head -c 30000000 /dev/zero | tr '\\0' x >&2; exit 3"), "/x", str(tmp_path / "x"))
    assert len(caught.value.details) <= 1 << 16


def test_a_link_to_a_directory_is_followed_only_with_a_slash(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("new")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(
        LagoError, match=f"vm0: {tmp_path}/x can't be copied to {tmp_path}/link, on this host"
    ) as caught:
        copy_from(GUEST, str(tmp_path / "x"), str(tmp_path / "link"))
    assert caught.value.details == f"{tmp_path}/link is a symbolic link to a directory"
    assert str(tmp_path / "real") in caught.value.hint
    assert not os.listdir(tmp_path / "real")
    for local in (f"{tmp_path}/link/", str(tmp_path / "real")):
        copy_from(GUEST, str(tmp_path / "x"), local)
        assert (tmp_path / "real" / "x").read_text() == "new"
        (tmp_path / "real" / "x").unlink()
    assert os.readlink(tmp_path / "link") == "real"


def test_a_link_to_a_file_is_replaced_by_what_comes(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("new")
    (tmp_path / "mine").write_text("mine")
    for place in ("link", "dir/x"):
        link_here = tmp_path / place
        link_here.parent.mkdir(exist_ok=True)
        link_here.symlink_to(tmp_path / "mine")
        copy_from(GUEST, str(tmp_path / "x"), str(tmp_path / place.partition("/")[0]))
        assert not link_here.is_symlink()
        assert link_here.read_text() == "new"
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("remote", [".", "/", "x/..", ".."])
def test_what_has_no_name_of_its_own_is_put_into_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remote: str
) -> None:
    (tmp_path / "here" / "x").mkdir(parents=True)
    (tmp_path / "out" / "into").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    guest = answering([b"/d"], stream(tmp_path / "stream", [("./d/new", {})]))
    copy_from(guest, remote, str(tmp_path / "out" / "into"))
    assert os.listdir(tmp_path / "out") == ["into"]
    assert os.listdir(tmp_path / "out" / "into") == ["new"]


@contextlib.contextmanager
def removed(path: Path) -> Iterator[None]:
    """Remove a tree at the end that is too deep for what removes the directories of tests."""
    try:
        yield
    finally:
        subprocess.run(["rm", "-rf", path], check=True)


def test_of_paths_within_others_each_comes_once_and_all_get_their_places(tmp_path: Path) -> None:
    place = tmp_path / "from here"
    (place / "a [x]" / "b").mkdir(parents=True)
    (place / "a [x]" / "b" / "file").write_text("x")
    (place / "a x").write_text("other")
    (place / "a [x]").chmod(0o555)
    (tmp_path / "got").mkdir()
    paths = ["a [x]/b/file", "a [x]", "a x", "a [x]/b", "a [x]/b", "a [x]/b/../b/file", "nowhere"]
    names = {f"{place}/{path}": str(number) for number, path in enumerate(paths) if number != 4}
    missing = fetch(GUEST, names, str(tmp_path / "got"))
    assert missing == [f"{place}/nowhere"]
    assert sorted(os.listdir(tmp_path / "got")) == ["0", "1", "2", "3", "5"]
    for file in ("0", "1/b/file", "3/file", "5"):
        assert (tmp_path / "got" / file).read_text() == "x"
    assert (tmp_path / "got" / "2").read_text() == "other"
    assert (tmp_path / "got" / "1").stat().st_mode & 0o777 == 0o555
    with tarfile.open(fileobj=io.BytesIO(_sent(list(names)))) as tar:
        files = [member.name for member in tar if not member.isdir()]
    assert len(files) == len(set(files)) == 2


def _sent(paths: list[str]) -> bytes:
    """The stream that the script of the transfer makes."""
    done = subprocess.run(["sh", "-c", transfer._SEND, "sh", *paths], stdout=subprocess.PIPE, check=True)
    return done.stdout.split(b"\0", len(paths))[-1]


ORDINARY = """
import os, pathlib, sys
from lago.errors import LagoError
from lago.guest.transfer import copy_from, fetch
from tests.unit.guest.test_transfer import GUEST, answering

stream = pathlib.Path(sys.argv[1])
for _ in range(2):
    try:
        copy_from(answering([b"/top"], stream), "/top", ".")
    except LagoError as error:
        sys.exit(error.render())
print(sorted(os.listdir(".")))

# What is asked for twice, within something that is read-only.
os.makedirs("../source/top/sub")
open("../source/top/sub/file", "w").close()
os.chmod("../source/top/sub", 0o555)
os.chmod("../source/top", 0o555)
source = os.path.realpath("../source")
names = {f"{source}/top": "one", f"{source}": "two", f"{source}/top/sub/file": "three"}
fetch(GUEST, names, ".")
print(sorted(os.listdir(".")))
"""


@pytest.mark.parametrize("outcome", ["taken", "refused"])
def test_an_ordinary_user_gets_locked_and_deep_trees_and_nothing_is_left_of_refused_ones(
    throwaway_user: User, outcome: str
) -> None:
    place = throwaway_user.home / outcome
    place.mkdir()
    throwaway_user.own(place)
    deep = "/".join(["d"] * 1500)
    entries: list[Entry] = [
        ("./", {**DIRECTORY, "mode": 0}),
        ("./top", {**DIRECTORY, "mode": 0o550, "mtime": 1}),
        ("./top/locked", {**DIRECTORY, "mode": 0}),
        ("./top/locked/read-only", {**DIRECTORY, "mode": 0o555}),
        ("./top/locked/read-only/file", {"mode": 0}),
        (f"./top/{deep}/file", {}),
    ]
    path = stream(throwaway_user.home / f"{outcome}.tar", entries if outcome == "taken" else [*entries, ("./../x", {})])
    program = [sys.executable, "-c", ORDINARY, str(path)]
    with removed(place):
        done = throwaway_user.run(program, cwd=place, env={"PYTHONPATH": str(REPOSITORY)})
        if outcome == "refused":
            assert done.stderr.startswith("vm0: /top can't be copied to ")
            assert not os.listdir(place)
            return
        assert done.returncode == 0, done.stderr
        assert (done.stdout, done.stderr) == ("['top']\n['one', 'three', 'top', 'two']\n", "")
        modes = {"": 0o550, "locked": 0, "locked/read-only": 0o555, "locked/read-only/file": 0}
        assert {name: (place / "top" / name).stat().st_mode & 0o7777 for name in modes} == modes
        assert (place / "top").stat().st_mtime == 1
        assert (place / "top" / deep / "file").read_text() == "theirs"
