"""Lago, or a part of it, killed with SIGKILL at awkward moments: nothing is lost, nothing stays behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path

import pytest

from .box import ONE, TWO, Box, kill, processes, wait_for

BOOT_ID = "cat /proc/sys/kernel/random/boot_id"


@pytest.fixture
def one(module_box: Box) -> Box:
    """A machine that runs, on whatever earlier tests have left."""
    module_box.up_warm(ONE)
    return module_box


def _until(process: subprocess.Popen[str], text: str) -> None:
    """Read what a process says until the text."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if text in line:
            return
    raise AssertionError(f"{text!r} was not said, but:\n{said}")


def _killed(box: Box, *words: str, at: str = "", after: float = 0) -> None:
    """Kill `lago` some seconds after it said something."""
    with box.popen(*words) as process:
        if at:
            _until(process, at)
        time.sleep(after)
        kill(process.pid)


MOMENTS = [
    ("Start hypervisor", 0.0),
    ("Start hypervisor", 0.1),
    ("Start hypervisor", 0.3),
    ("Start nets", 0.0),
    ("Start nets: Success", 0.0),
    ("Start VMs", 0.05),
    ("Start VMs: Success", 0.0),
    ("Wait for ssh", 2.0),
]


def test_start_killed_again_and_again_is_finished_by_the_next(box: Box) -> None:
    box.write(TWO)
    box.lago("init")
    for at, after in MOMENTS:
        _killed(box, "start", at=at, after=after)
        states = box.states()
        assert set(states) == {"vm0", "vm1"}
        assert set(states.values()) <= {"down", "running", "shut off", "paused"}, states
    box.lago("start")
    assert set(box.states().values()) == {"running"}
    assert "1 packets received" in box.shell("vm0", "ping -c 1 -W 5 vm1")


@pytest.mark.parametrize(
    ("at", "after"),
    [*MOMENTS[1::3], *(pytest.param(*one, marks=pytest.mark.slow) for one in MOMENTS[2:] if one not in MOMENTS[1::3])],
)
def test_start_killed_in_the_middle_is_removed_by_destroy(box: Box, at: str, after: float) -> None:
    box.write(ONE)
    box.lago("init")
    run_dir = box.run_dir
    _killed(box, "start", at=at, after=after)
    box.lago("destroy", "--yes")
    assert wait_for(lambda: not box.mentioned()), box.mentioned()
    assert not run_dir.exists()
    assert not (box.place / ".lago").exists()


def test_supervisor_killed_ends_everything_and_start_begins_anew(one: Box) -> None:
    inside, pid, run_dir = one.inside(), one.supervisor(), one.run_dir
    assert pid is not None
    one.shell("vm0", "echo kept >/root/note; sync")
    before = one.shell("vm0", BOOT_ID)
    kill(pid)
    assert inside.gone(), inside.processes()
    assert wait_for(lambda: not one.mentioned()), one.mentioned()
    # Sockets that nobody listens at stay, and are no hindrance.
    assert {"lago.sock", "libvirt-sock", "ssh-0"} <= set(os.listdir(run_dir))
    status = one.status()
    assert status["VMs"]["vm0"]["status"] == "down"
    assert status["Networks"]["lan"]["status"] == "down"
    done = one.lago("shell", "vm0", "true", code=2)
    assert "vm0 is not running, it is down\nhint: lago start vm0" in done.err
    one.lago("start")
    assert one.shell("vm0", "cat /root/note") == "kept\n"
    assert one.shell("vm0", BOOT_ID) != before


def test_libvirtd_killed_ends_everything(one: Box) -> None:
    inside = one.inside()
    [libvirtd] = [line for line in inside.processes() if "libvirtd -f" in line]
    kill(int(libvirtd.split(":")[0]))
    assert inside.gone(), inside.processes()
    assert one.states() == {"vm0": "down"}
    assert "libvirtd ended" in (one.prefix / "logs" / "hypervisor.log").read_text()
    one.lago("stop")
    assert not one.run_dir.exists()


def test_a_dnsmasq_that_ends_is_started_again(one: Box) -> None:
    def servers() -> list[str]:
        return [line for line in one.inside().processes() if "dnsmasq" in line]

    before = servers()
    for line in before:
        # Its helper ends by itself with it.
        with contextlib.suppress(ProcessLookupError):
            kill(int(line.split(":")[0]))
    assert wait_for(lambda: len(found := servers()) == len(before) and not {*found} & {*before}), servers()
    assert "192.168.200.2" in one.shell("vm0", "nslookup vm0 192.168.200.1")
    assert "dnsmasq of a net ended" in (one.prefix / "logs" / "hypervisor.log").read_text()
    # Its net is what it was.
    one.lago("stop")
    one.lago("start")
    assert "192.168.200.2" in one.shell("vm0", "nslookup vm0 192.168.200.1")


@pytest.mark.parametrize("after", [0.05, *(pytest.param(late, marks=pytest.mark.slow) for late in (0.02, 0.1, 0.2))])
def test_stop_killed_half_way_is_finished_by_the_next(one: Box, after: float) -> None:
    inside = one.inside()
    _killed(one, "stop", at="Stop prefix", after=after)
    one.lago("stop")
    # Images are free at once, whatever else is still on its way out.
    assert "qemu-system" not in " ".join(inside.processes())
    assert inside.gone(), inside.processes()
    one.lago("start")
    assert one.states() == {"vm0": "running"}
    one.lago("stop")
    assert one.states() == {"vm0": "down"}


def test_destroy_killed_half_way_is_finished_by_the_next(one: Box) -> None:
    _killed(one, "destroy", "--yes", at="Stop prefix", after=0.05)
    done = one.lago("destroy", "--yes", code=None)
    assert done.code == 0 or "there is no environment" in done.err
    assert one.mentioned() == []
    assert not (one.place / ".lago").exists()


@pytest.mark.parametrize("after", [0.1, 0.15, 0.2, 0.25, 0.3, 0.35])
def test_init_killed_half_way_is_done_by_the_next(box: Box, after: float) -> None:
    box.write(TWO)
    _killed(box, "init", after=after)
    status = box.lago("status", code=None)
    assert status.code in (0, 2)
    if status.code:
        assert "hint: lago init" in status.err
        box.lago("init")
    assert os.listdir(box.place / ".lago" / "default") != []
    # Killed at the very end, it may lack the link to the only prefix there is.
    assert set(os.listdir(box.place / ".lago")) - {"current"} == {"default"}
    assert box.states() == {"vm0": "down", "vm1": "down"}


def test_what_killed_init_and_destroy_left_is_removed_by_destroy(box: Box) -> None:
    box.write(ONE)
    box.lago("init")
    # As if destroy had been killed while it removed files.
    workdir = box.place / ".lago"
    os.rename(workdir / "default", workdir / ".lago-unfinished-1")
    done = box.lago("status", code=2)
    assert "interrupted" in done.err
    box.lago("destroy", "--yes")
    assert not workdir.exists()


def test_a_prefix_without_the_link_to_it_is_found(box: Box) -> None:
    box.write(ONE)
    box.lago("init")
    # As if init had been killed just before its last step.
    (box.place / ".lago" / "current").unlink()
    assert box.states() == {"vm0": "down"}
    box.lago("destroy", "--yes")
    assert not (box.place / ".lago").exists()


def test_two_starts_at_once_start_once(box: Box) -> None:
    box.write(ONE)
    box.lago("init")
    both = [box.popen("start"), box.popen("start")]
    said = [(*process.communicate(timeout=200), process.returncode) for process in both]
    assert [code for _, _, code in said] == [0, 0], said
    assert sum("in use by process" in err for _, err, _ in said) == 1, said
    [_] = [pid for pid, command in processes() if str(box.prefix) in command and "qemu-system" in command.split()[0]]
    assert box.shell("vm0", "hostname") == "vm0\n"


def test_status_of_what_starts_right_now_waits_for_nothing(box: Box) -> None:
    box.write(ONE)
    box.lago("init")
    with box.popen("start") as process:
        _until(process, "Wait for ssh")
        assert box.states() == {"vm0": "running"}
        assert process.poll() is None
        # A person who has seen enough.
        process.terminate()
        assert process.wait(60) == 143
    box.lago("destroy", "--yes")


def test_inits_of_one_name_at_once_make_one(box: Box, tmp_path: Path) -> None:
    box.write(ONE)
    several = [box.popen("init") for _ in range(3)]
    said = [(process.communicate(timeout=60)[1], process.returncode) for process in several]
    assert sorted(code for _, code in said) == [0, 2, 2], said
    assert sorted(os.listdir(tmp_path / ".lago")) == ["current", "default"]
    assert "default exists already" in box.lago("init", code=2).err
    box.lago("--prefix-name", "second", "init")
    assert box.lago("list").out == "default\nsecond\n"
    assert box.states() == {"vm0": "down"}
