"""An environment whose sockets are gone while it runs, as when the last session of its user ends."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..users import User
from .box import ONE, Box

LOST = "running, its sockets are gone"
SAID = "the environment runs, but its sockets are gone, so it can't be reached"


@pytest.fixture(params=["root", pytest.param("user", marks=pytest.mark.slow)])
def lost(request: pytest.FixtureRequest, mini: Path, tmp_path: Path) -> Iterator[Box]:
    """An environment with a machine that runs, of root's or an ordinary user's, without its directory of sockets."""
    if request.param == "user":
        user: User = request.getfixturevalue("throwaway_user")
        made = Box.of_user(user, mini, f"lost-{os.urandom(4).hex()}")
    else:
        made = Box(tmp_path)
    try:
        made.up_warm(ONE)
        away = made.run_dir.parent.with_name(f"away-{os.urandom(4).hex()}")
        made.run_dir.parent.rename(away)
        yield made
        shutil.rmtree(away)
    finally:
        made.close()


@contextlib.contextmanager
def ends(box: Box) -> Iterator[None]:
    """The supervisor and the QEMU that run now have ended when the block has."""
    pid = box.supervisor()
    assert pid is not None
    watched = [os.pidfd_open(pid), os.pidfd_open(box.qemu())]
    try:
        yield
        for fd in watched:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            # At once: what the command said is true already.
            assert poll.poll(0)
    finally:
        for fd in watched:
            os.close(fd)


def test_why_the_environments_own_libvirt_does_not_answer_is_in_the_error(box: Box) -> None:
    box.up_warm(ONE)
    with open(box.prefix / "logs" / "hypervisor.log", "a") as log:
        log.write("libvirtd: a reason\n")
    socket = box.run_dir / "libvirt-sock"
    socket.rename(box.run_dir / "away")
    try:
        said = box.lago("status", code=2).err
    finally:
        (box.run_dir / "away").rename(socket)
    assert "lago: no connection to libvirt at qemu+unix:///system?socket=" in said
    assert "    libvirtd: a reason\n" in said
    assert f"the whole log is {box.prefix}/logs/hypervisor.log" in said


def test_status_tells_it_no_command_denies_it_and_stop_ends_it(lost: Box) -> None:
    done = lost.lago("-f", "json", "status")
    assert f'"status": "{LOST}"' in done.out
    assert '"status": "unknown"' in done.out
    assert f"WARNING: {lost.prefix} runs, but its sockets are gone" in done.err
    for words in (["start"], ["up"], ["shell", "vm0", "true"], ["stop", "vm0"], ["shutdown"], ["snapshot", "s"]):
        said = lost.lago(*words, code=2).err
        assert f"lago: {SAID}\n" in said
        assert str(lost.run_dir) in said
        assert "hint: lago stop ends it" in said
    with ends(lost):
        lost.lago("stop")
    assert lost.mentioned() == []
    assert lost.states() == {"vm0": "down"}
    lost.lago("start")
    assert lost.shell("vm0", "hostname") == "vm0\n"


def test_destroy_ends_it_before_its_files_go(lost: Box) -> None:
    with ends(lost):
        lost.lago("destroy", "--yes")
    assert not (lost.place / ".lago").exists()
    assert lost.mentioned() == []


def test_a_process_that_the_lock_file_names_is_let_alone(lost: Box) -> None:
    lock = lost.prefix / "virt" / ".hypervisor.lock"
    with ends(lost):
        lock.write_text(f"{os.getpid()}\n")
        lost.lago("stop")
    assert lost.states() == {"vm0": "down"}
