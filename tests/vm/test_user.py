"""The main job as an ordinary user: no root rights anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..users import User
from .box import TWO, Box, kill, wait_for
from .terminal import Terminal


@pytest.fixture(scope="module")
def home(mini: Path, throwaway_user: User) -> Iterator[Box]:
    """A directory of the user's, with templates of the user's own."""
    throwaway_user.copy_store(mini)
    place = throwaway_user.home / "work"
    place.mkdir()
    throwaway_user.own(place)
    made = Box(place, user=throwaway_user)
    yield made
    made.close()


@pytest.fixture
def running(home: Box) -> Box:
    """Two machines that run."""
    home.up(TWO)
    return home


def test_everything_belongs_to_the_user(running: Box, throwaway_user: User) -> None:
    paths = [running.place / ".lago", *(running.place / ".lago").rglob("*")]
    assert {path.lstat().st_uid for path in paths} == {throwaway_user.uid}
    pid = running.supervisor()
    assert pid is not None
    assert Path(f"/proc/{pid}/status").stat().st_uid == throwaway_user.uid


def test_shell_has_input_output_and_exit_status(running: Box) -> None:
    assert running.shell("vm0", "hostname") == "vm0\n"
    done = running.lago("shell", "vm1", "cat; echo err >&2; exit 7", data="in\n", code=7)
    assert (done.out, done.err) == ("in\n", "err\n")
    assert running.lago("shell", "vm1", data="[[ 1 ]] && hostname\n").out == "vm1\n"


def test_a_shell_for_people_has_a_terminal(running: Box) -> None:
    with Terminal(running, "shell", "vm0", size=(33, 101)) as terminal:
        terminal.expect("# ")
        terminal.resize(40, 90)
        terminal.type("until [ \"$(stty size)\" = '40 90' ]; do sleep 0.1; done; echo re'sized'\n")
        terminal.expect("resized")
        terminal.type("exit 3\n")
        assert terminal.wait() == 3


def test_machines_find_each_other_by_name(running: Box) -> None:
    assert "1 packets received" in running.shell("vm0", "ping -c 1 -W 5 vm1")
    assert "1 packets received" in running.shell("vm1", "ping -c 1 -W 5 vm0")


def test_programs_run_inside_see_its_bridges(running: Box) -> None:
    script = "ip -o -4 addr; exec 3<>/dev/tcp/vm0/22; head -c 4 <&3; echo; pwd"
    out = running.lago("nsexec", "--", "bash", "-c", script).out
    assert "192.168.200.1/24" in out
    assert out.endswith(f"\nSSH-\n{running.place}\n")


def test_stop_leaves_nothing_running_and_disks_keep_what_was_written(running: Box) -> None:
    running.shell("vm0", "echo kept >/root/note; sync")
    inside, run_dir = running.inside(), running.run_dir
    running.lago("stop")
    assert inside.gone(), inside.processes()
    assert wait_for(lambda: not running.mentioned()), running.mentioned()
    assert not run_dir.parent.exists()
    running.lago("start", "vm0")
    assert running.shell("vm0", "cat /root/note") == "kept\n"


def test_the_end_of_the_supervisor_is_the_end_of_everything(home: Box) -> None:
    if home.states()["vm0"] != "running":
        home.lago("start", "vm0")
    inside, pid = home.inside(), home.supervisor()
    assert pid is not None
    kill(pid)
    assert inside.gone(), inside.processes()
    assert home.states() == {"vm0": "down", "vm1": "down"}


def test_destroy_leaves_nothing(home: Box) -> None:
    home.lago("destroy", "--yes")
    assert not (home.place / ".lago").exists()
    assert home.mentioned() == []
