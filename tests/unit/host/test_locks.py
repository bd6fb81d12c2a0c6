"""Lock files, and who holds one."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago.environment.prefix import Prefix
from lago.errors import LockTimeout, PrefixError
from lago.host.locks import holders, lock_file, locked_text
from lago.hypervisor import private

from ..conftest import Lago, make_prefix


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where a lock file is to be."""
    return str(tmp_path / "lock")


@pytest.fixture
def holder(path: str) -> Iterator[int]:
    """A child that holds the lock and does not say so in the file."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.write(theirs, b"x")
        signal.pause()
    assert os.read(ours, 1) == b"x"
    yield child
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ours)
    os.close(theirs)


def test_holders_are_who_hold_it_and_not_who_wait(path: str, holder: int) -> None:
    fd = os.open(path, os.O_RDWR)
    assert holders(path) == [holder]
    os.close(fd)


def test_who_inherited_the_lock_holds_it_too(path: str) -> None:
    with lock_file(path, what="it"):
        child = os.fork()
        if child == 0:
            signal.pause()
    try:
        assert holders(path) == [child]
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert holders(path) == []


def test_a_process_that_does_not_hold_it_is_neither_named_nor_to_be_killed(path: str, holder: int) -> None:
    # As an earlier holder had the number that another process has now.
    Path(path).write_text(f"{os.getppid()}\n")
    with (
        pytest.raises(LockTimeout, match="it is still in use by another process after 0 s") as raised,
        lock_file(path, what="it", timeout=0),
    ):
        pass
    assert raised.value.hint == "wait for it"
    Path(path).write_text(f"{holder}\n")
    with pytest.raises(LockTimeout) as raised, lock_file(path, what="it", timeout=0):
        pass
    assert raised.value.hint == f"wait for it, or end it: kill {holder}"


def test_nobody_else_may_open_a_lock_file(path: str) -> None:
    with lock_file(path, what="it"):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_a_link_in_its_place_is_not_written_through(path: str, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("content")
    os.symlink(target, path)
    with pytest.raises(PrefixError, match="is a link"), lock_file(path, what="it"):
        pass
    assert target.read_text() == "content"


def test_what_a_lock_file_says_counts_while_it_is_held(path: str) -> None:
    assert locked_text(path) is None
    Path(path).write_text("text\n")
    assert locked_text(path) is None
    with lock_file(path, what="it"):
        assert locked_text(path) == str(os.getpid())


@pytest.mark.programs
@pytest.mark.parametrize("command", ["stop", "destroy", "cleanup"])
def test_a_prefix_whose_hypervisor_lock_is_held_is_not_removed(
    command: str, tmp_path: Path, lago: Lago, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private, "_LOCK_TIMEOUT", 1)
    prefix = Prefix(str(make_prefix(tmp_path / ".lago" / "default")))
    code = f"import signal, lago.utils as u\nwith u.lock_file({prefix.paths.hypervisor_lock()!r}, what='it'):\n "
    code += "print(flush=True); signal.pause()\n"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        try:
            _, err = lago.both(command, *(["--yes"] if command == "destroy" else []), code=2)
            # It is no supervisor, so it is none of ours to end.
            assert holder.poll() is None
        finally:
            holder.kill()
    assert f"the private hypervisor is still in use by process {holder.pid}" in err
    assert tmp_path.joinpath(".lago", "default", "initialized").exists()
    lago(command, *(["--yes"] if command == "destroy" else []))


def test_what_cleanup_left_is_not_removed_while_its_hypervisor_lives(tmp_path: Path, lago: Lago) -> None:
    prefix = make_prefix(tmp_path / ".lago" / "default")
    prefix.joinpath("initialized").unlink()
    with lock_file(str(prefix / "virt" / ".hypervisor.lock"), what="it"):
        assert "is still in use by" in lago.both("destroy", "--yes", code=2)[1]
    assert prefix.joinpath("virt", "env").exists()
    lago("destroy", "--yes")
    assert not prefix.exists()
