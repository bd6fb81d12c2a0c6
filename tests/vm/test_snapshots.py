"""Snapshots, reverts and forks of machines that run and talk to each other."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest

from lago.environment.prefix import Prefix
from lago.environment.snapshots.take import take
from lago.errors import LagoError
from lago.topology.given import Share
from lago.virt import VM, checkpoint, migration

from ..users import User
from .box import TWO, Box, wait_for
from .test_failures import small

KINDS = """\
domains:
  cells: {firmware: uefi, vcpu: 2, memory: 256, disks: [{template_name: mini}], nics: [{net: lan}]}
  trusted: {tpm: true, vcpu: 1, memory: 128, disks: [{template_name: mini}], nics: [{net: lan}]}
nets: {lan: {}}
"""
COUNT = (
    "i=0; while :; do i=$((i + 1)); echo $i >/root/.count; mv /root/.count /root/count; echo $i; usleep 100000; done"
)
"""Counts in a file that is never empty, and tells everyone."""


@pytest.fixture(scope="module")
def box(module_box: Box) -> Box:
    """Two machines of which vm0 counts and tells vm1."""
    module_box.write(TWO)
    module_box.lago("init")
    module_box.lago("start")
    module_box.shell("vm1", "(tail -f /dev/null | nc -l -p 7000 >/root/got) >/dev/null 2>&1 & usleep 500000")
    module_box.shell("vm0", f"({COUNT} | nc vm1 7000) >/dev/null 2>&1 &")
    assert wait_for(lambda: told(module_box) > 5)
    return module_box


def counted(box: Box) -> int:
    return int(box.shell("vm0", "cat /root/count"))


def told(box: Box) -> int:
    """How far vm1 has heard vm0 count, without a gap."""
    heard = [int(line) for line in box.shell("vm1", "cat /root/got").split()]
    assert heard == list(range(1, len(heard) + 1))
    return len(heard)


def images(box: Box) -> set[str]:
    return {path.name for path in (box.prefix / "images").iterdir()}


def test_a_counter_and_a_connection_go_on_from_the_instant(box: Box) -> None:
    before = counted(box)
    done = box.lago("-f", "flat", "snapshot", "base")
    assert float(done.out.split("pause: ")[1]) < 60
    after = counted(box)
    box.shell("vm0", "echo lost >/root/later")
    assert wait_for(lambda: counted(box) > after + 30)
    far = counted(box)
    box.lago("revert", "base")
    again = counted(box)
    assert before <= again < far
    assert box.shell("vm0", "ls /root").split() == ["count"]
    # The connection stands: what is counted from now on is heard, without a gap.
    assert wait_for(lambda: told(box) > again + 5)
    assert abs(float(box.shell("vm1", "date +%s")) - time.time()) < 30


@pytest.mark.slow
def test_any_snapshot_is_gone_back_to_in_any_order(box: Box) -> None:
    for name in ("one", "two"):
        box.shell("vm1", f"echo {name} >/root/name; sync")
        box.lago("snapshot", name)
    for name in ("one", "two", "base", "two", "one"):
        box.lago("revert", name)
        assert box.shell("vm1", "cat /root/name 2>/dev/null || echo base").strip() == name
    told(box)
    box.lago("snapshot", "--delete", "one")
    box.lago("revert", "two")
    assert box.shell("vm1", "cat /root/name") == "two\n"
    box.lago("snapshot", "--delete", "two")
    assert len(images(box)) == 6  # two first images, two tops, two seeds
    assert len(list((box.prefix / "snapshots").iterdir())) == 4  # of each of two machines memory and state


def test_snapshots_cost_what_status_says(box: Box) -> None:
    cost = box.status()["Snapshots"]["base"]["bytes on disk"]
    assert cost > 2 * 20 << 20
    assert box.status()["VMs"]["vm0"]["snapshots"] == "base"


def test_a_machine_alone_goes_back(box: Box) -> None:
    prefix = Prefix(str(box.prefix))
    vm: VM = prefix.virt_env.get_vm("vm1")
    box.shell("vm1", "echo 1 >/root/alone")
    vm.create_snapshot("alone")
    for name in ("vm0", "vm1"):
        box.shell(name, "echo 2 >/root/alone")
    vm.revert_snapshot("alone")
    prefix.virt_env.close()
    assert box.shell("vm1", "cat /root/alone") == "1\n"
    assert box.shell("vm0", "cat /root/alone") == "2\n"
    box.lago("snapshot", "--delete", "alone")


def test_disks_alone_are_saved_while_machines_run_and_come_back_stopped(box: Box) -> None:
    boot = box.shell("vm0", "cat /proc/sys/kernel/random/boot_id")
    box.shell("vm0", "echo kept >/root/disk")
    box.lago("snapshot", "disks", "--disk-only")
    assert box.shell("vm0", "cat /proc/sys/kernel/random/boot_id") == boot
    box.shell("vm0", "rm /root/disk; sync")
    box.lago("revert", "disks")
    assert box.states() == {"vm0": "down", "vm1": "down"}
    box.lago("start")
    assert box.shell("vm0", "cat /root/disk") == "kept\n"


def test_what_was_down_is_down_again(box: Box) -> None:
    box.lago("stop", "vm1")
    box.lago("snapshot", "half")
    box.lago("start", "vm1")
    box.lago("revert", "half")
    assert box.states() == {"vm0": "running", "vm1": "down"}
    box.lago("revert", "base")
    assert box.states() == {"vm0": "running", "vm1": "running"}
    box.lago("stop")
    box.lago("revert", "base")
    assert box.states() == {"vm0": "running", "vm1": "running"}
    for name in ("half", "disks"):
        box.lago("snapshot", "--delete", name)


def test_two_forks_do_not_see_each_other_and_outlive_what_they_came_from(box: Box) -> None:
    told(box)
    count = counted(box)
    running = [box.popen("fork", name, "--from", "base") for name in ("left", "right")]
    for process in running:
        _, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
    for name in ("left", "right"):
        box.lago("-P", name, "shell", "vm0", "-c", f"echo {name} >/root/fork; sync")
    for name in ("left", "right"):
        assert box.lago("-P", name, "shell", "vm0", "-c", "cat /root/fork; hostname").out == f"{name}\nvm0\n"
        assert "1 packets received" in box.lago("-P", name, "shell", "vm0", "-c", "ping -4 -c 1 -W 9 vm1").out
    assert "fork" not in box.shell("vm0", "ls /root")
    assert counted(box) > count
    # A fork has the snapshot that it came from, and nothing of its own on disk but what its guests wrote.
    assert (box.place / ".lago" / "left" / "images" / "vm0_root.qcow2").stat().st_nlink == 3
    box.lago("-P", "left", "destroy", "--yes")
    box.lago("-P", "right", "revert", "base")
    assert box.lago("-P", "right", "shell", "vm0", "-c", "ls /root").out.split() == ["count"]
    box.lago("-P", "right", "destroy", "--yes")


def test_a_machine_that_ends_while_it_is_stopped_is_stopped(box: Box) -> None:
    box.lago("snapshot", "ends", "--replace")
    for pause in (0, 0.01, 0.02, 0.05):
        with contextlib.closing(Prefix(str(box.prefix)).virt_env) as env:
            vm = env.get_vm("vm1")
            env.hypervisor.kill(vm.libvirt_name())
            time.sleep(pause)
            vm.stop()
            assert not vm.alive()
        box.lago("revert", "ends")
    box.lago("snapshot", "--delete", "ends")


def test_a_fork_of_now_takes_the_machines_as_they_are(box: Box) -> None:
    box.shell("vm0", "echo now >/dev/shm/now")
    snapshots = box.lago("-f", "json", "snapshot", "--tree").out
    box.lago("fork", "now")
    assert box.lago("-P", "now", "shell", "vm0", "-c", "cat /dev/shm/now").out == "now\n"
    assert box.lago("-f", "json", "snapshot", "--tree").out == snapshots
    box.lago("-P", "now", "destroy", "--yes")


@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_any_time_the_environment_is_usable_and_no_snapshot_lost(box: Box, times: int) -> None:
    rng = random.Random(7)
    box.shell("vm0", "echo 1 >/root/mark; sync")
    box.lago("snapshot", "old", "--replace")
    commands = (["snapshot", "new", "--replace"], ["revert", "base"], ["snapshot", "--delete", "doomed"])
    for number in range(times):
        words = commands[number % len(commands)]
        if "doomed" in words:
            box.lago("snapshot", "doomed", "--replace")
        process = box.popen(*words)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0.1, 2.0))
        process.kill()
        process.communicate()
        assert {"base", "old"} <= set(box.status()["VMs"]["vm0"]["snapshots"].split(", "))
        # Whatever it was killed in, the next command puts right what stands still.
        box.lago("start")
        assert box.states() == {"vm0": "running", "vm1": "running"}
    assert box.shell("vm0", "hostname") == "vm0\n"
    box.lago("revert", "old")
    assert box.shell("vm0", "cat /root/mark") == "1\n"
    box.lago("revert", "base")
    for name in ("old", "doomed", "new"):
        box.lago("snapshot", "--delete", name, code=None)
    assert len(images(box)) == 6


@pytest.fixture(scope="module")
def cramped(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """Two machines that run where there is no room for what is in their memory."""
    place = tmp_path_factory.mktemp("small")
    with small(place, 90_000), contextlib.closing(Box(place)) as made:
        made.up(TWO)
        yield made
        made.lago("destroy", "--yes")


def test_there_is_room_again_before_guests_go_on(cramped: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    free: list[int] = []

    def resume(vm: VM, real: Callable[[VM], None] = checkpoint.resume) -> None:
        free.append(shutil.disk_usage(cramped.place).free)
        real(vm)

    before = shutil.disk_usage(cramped.place).free
    monkeypatch.setattr(checkpoint, "resume", resume)
    prefix = Prefix(str(cramped.prefix))
    with contextlib.closing(prefix.virt_env), pytest.raises(LagoError, match="save"):
        prefix.create_snapshots("big")
    # QEMU pauses a guest that finds no room for what it writes.
    assert len(free) == 2
    assert min(free) > before / 2


def test_on_a_full_disk_all_go_on_and_nothing_is_kept(cramped: Box) -> None:
    box = cramped
    box.shell("vm0", "echo before >/root/x")
    done = box.lago("snapshot", "big", code=2)
    assert "can't be saved" in done.err
    assert "hint: the disk is full: " in done.err
    assert box.states() == {"vm0": "running", "vm1": "running"}
    assert box.shell("vm0", "echo after >>/root/x; sync; cat /root/x") == "before\nafter\n"
    assert "Snapshots" not in box.status()
    assert list((box.prefix / "snapshots").iterdir()) == []
    box.lago("stop")
    box.lago("start", "vm0")
    assert box.shell("vm0", "cat /root/x") == "before\nafter\n"


def test_a_machine_that_ends_while_it_is_saved_is_what_is_told(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(domain: libvirt.virDomain, file: int, real: Callable[..., None] = migration.write) -> None:
        prefix.virt_env.hypervisor.kill(domain.name())
        real(domain, file)

    box.lago("snapshot", "alive", "--replace")
    prefix = Prefix(str(box.prefix))
    with monkeypatch.context() as patch, contextlib.closing(prefix.virt_env):
        patch.setattr(migration, "write", write)
        with pytest.raises(LagoError, match="vm1 can't be saved") as raised:
            prefix.create_snapshots("ended", vms=["vm1"])
        assert "full" not in raised.value.hint
    assert "ended" not in box.status()["VMs"]["vm0"]["snapshots"]
    # It was not stopped, and its connection is one of before.
    assert "was lost" not in box.lago("--loglevel", "debug", "revert", "alive").err
    box.lago("snapshot", "--delete", "alive")


def test_a_full_disk_is_what_is_told_and_not_the_pipe_that_broke_then(box: Box) -> None:
    env = Prefix(str(box.prefix)).virt_env
    vm = env.get_vm("vm0")
    with contextlib.closing(env), open("/dev/full", "wb", buffering=0) as full:
        checkpoint.pause(vm)
        try:
            with pytest.raises(OSError, match="No space left on device"):
                migration.write(vm.domain(), full.fileno())
        finally:
            checkpoint.resume(vm)
    box.lago("snapshot", "room")
    box.lago("revert", "room")
    assert box.shell("vm0", "hostname") == "vm0\n"
    box.lago("snapshot", "--delete", "room")


def test_shares_are_refused_before_anything_stands_still(box: Box) -> None:
    env = Prefix(str(box.prefix)).virt_env
    vm = env.get_vm("vm0")
    vm.spec = replace(vm.spec, shares=(Share(path="/tmp", tag="tmp"),))
    with pytest.raises(LagoError, match="vm0 shares directories with the host"):
        take(env, "shared", env.select(()))
    env.close()
    assert box.status()["VMs"]["vm0"]["snapshots"] == "base"


@pytest.mark.slow
def test_an_ordinary_user_goes_back_with_uefi_numa_cells_and_a_tpm(mini: Path, throwaway_user: User) -> None:
    with contextlib.closing(Box.of_user(throwaway_user, mini, "snapshots")) as box:
        box.up(KINDS)
        box.lago("snapshot", "base")
        # Only libvirt itself saves what a TPM holds.
        files = sorted(path.name.partition(".")[2] for path in (box.prefix / "snapshots").iterdir())
        assert files == ["cells.mem", "cells.nvram", "cells.state", "trusted.mem"]
        for vm in ("cells", "trusted"):
            box.shell(vm, "echo later >/tmp/later; echo later >/root/later; sync")
        box.lago("revert", "base")
        for vm in ("cells", "trusted"):
            assert box.shell(vm, "ls /root /tmp; hostname").split() == ["/root:", "/tmp:", vm]
        box.lago("revert", "base")
        assert box.shell("cells", "nproc") == "2\n"
