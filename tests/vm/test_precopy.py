"""Snapshots of machines that were booted, whose memory QEMU writes while they run."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from lago.environment.prefix import Prefix
from lago.errors import HypervisorError, LagoError
from lago.virt import VM, checkpoint, memory, precopy
from lago.virt.unravel import unravel as real_unravel

from .box import MINI, TWO, Box, wait_for
from .test_failures import small
from .test_snapshots import COUNT, counted, told

CELLS = """\
domains:
  cells:
    {firmware: %s, vcpu: 4, memory: 384, nics: [{net: lan}],
     disks: [{template_name: mini}, {type: empty, name: data, size: 64M, dev: vdb}]}
  vm0: {memory: 128, vcpu: 1, disks: [{template_name: mini}], nics: [{net: lan}]}
nets: {lan: {}}
"""
WHOLE = "libvirt saves it as a whole"
FILL = "head -c 20000000 /dev/urandom >/dev/shm/data; sha256sum /dev/shm/data >/dev/shm/sum"


@pytest.fixture(scope="module")
def box(module_box: Box) -> Box:
    """Two machines, of which each test that needs it boots them anew."""
    module_box.write(TWO)
    module_box.lago("init")
    return module_box


@pytest.fixture
def booted(box: Box) -> Iterator[Box]:
    """The same, just booted, without a snapshot."""
    box.lago("stop")
    box.lago("start")
    yield box
    # Files that a machine runs on stay as long as it does.
    box.lago("stop")
    for name in box.status().get("Snapshots", {}):
        box.lago("snapshot", "--delete", name)


def streamed(box: Box) -> dict[str, list[int]]:
    """By machine, the bytes with which rounds of the last snapshot began after the first; sees that none failed."""
    log = (box.prefix / "logs" / "lago.log").read_text(errors="replace").rpartition("Create snapshot: started")[2]
    assert WHOLE not in log
    found: dict[str, list[int]] = {}
    for vm, left in re.findall(r"(\w+): round \d+ begins with (\d+) bytes", log):
        found.setdefault(vm, []).append(int(left))
    return found


@contextlib.contextmanager
def prefix_of(box: Box) -> Iterator[Prefix]:
    prefix = Prefix(str(box.prefix))
    with contextlib.closing(prefix.virt_env):
        yield prefix


def test_a_counter_a_connection_and_memory_go_on_from_the_instant(booted: Box) -> None:
    booted.shell("vm1", "(tail -f /dev/null | nc -l -p 7000 >/root/got) >/dev/null 2>&1 & usleep 500000")
    booted.shell("vm0", f"({COUNT} | nc vm1 7000) >/dev/null 2>&1 &")
    assert wait_for(lambda: told(booted) > 5)
    booted.shell("vm0", FILL)
    before = counted(booted)
    booted.lago("snapshot", "base")
    assert set(streamed(booted)) <= {"vm0", "vm1"}
    after = counted(booted)
    booted.shell("vm0", "echo lost >/root/later; head -c 9000000 /dev/zero | dd of=/dev/shm/data conv=notrunc 2>&1")
    assert wait_for(lambda: counted(booted) > after + 30)
    booted.lago("revert", "base")
    again = counted(booted)
    assert before <= again
    assert "OK" in booted.shell("vm0", "sha256sum -c /dev/shm/sum")
    assert booted.shell("vm0", "ls /root").split() == ["count"]
    assert wait_for(lambda: told(booted) > again + 5)
    # Saved from now on as a machine that was brought back, by the same words.
    booted.lago("snapshot", "second")
    booted.lago("revert", "second")
    assert "OK" in booted.shell("vm0", "sha256sum -c /dev/shm/sum")


def test_a_second_snapshot_without_a_revert_is_as_good(booted: Box) -> None:
    for name in ("one", "two"):
        booted.shell("vm0", f"{FILL}; echo {name} >/dev/shm/name")
        booted.lago("snapshot", name)
        streamed(booted)
    for name in ("one", "two"):
        booted.lago("revert", name)
        assert booted.shell("vm0", "cat /dev/shm/name; sha256sum -c /dev/shm/sum").splitlines() == [
            name,
            "/dev/shm/data: OK",
        ]


@pytest.mark.slow
def test_memory_that_nobody_touched_is_not_used_for_being_read(booted: Box) -> None:
    with prefix_of(booted) as prefix:
        vm = prefix.virt_env.get_vm("vm0")
        assert memory.files(vm) == []
        before = vm.domain().memoryStats()["rss"]
        prefix.create_snapshots("read")
        # Less than half of what a guest of 128 MiB has not touched.
        assert vm.domain().memoryStats()["rss"] < before + (16 << 10)
    [file] = (booted.prefix / "snapshots").glob("*.vm0.mem")
    assert file.stat().st_size == 128 << 20
    assert file.stat().st_blocks * 512 < 110 << 20


@pytest.mark.slow
def test_a_guest_that_writes_memory_as_fast_as_it_can_is_saved_all_the_same(
    booted: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    booted.shell("vm0", "cd /dev/shm; for i in a b; do head -c 15000000 /dev/urandom >$i; done; sha256sum a b >sum")
    turn = "while :; do for i in a b; do cat /dev/shm/$i >/dev/shm/c; done; done"
    booted.shell("vm0", f"({turn}) >/dev/null 2>&1 &")

    def slowly(pipe: int, file: int, state: Any, parts: list[str], halt: Callable[[float], None]) -> None:
        def on_a_slow_disk(reached: float) -> None:
            halt(reached)
            threading.Event().wait(0.003)

        real_unravel(pipe, file, state, parts, on_a_slow_disk)

    # So that it is never near its end, however slow a guest is here.
    monkeypatch.setattr(precopy, "unravel", slowly)
    monkeypatch.setattr(precopy, "_LEFT", -1)
    with prefix_of(booted) as prefix:
        prefix.create_snapshots("busy", vms=["vm0"])
    rounds = streamed(booted)["vm0"]
    assert len(rounds) > 3, rounds
    booted.lago("revert", "busy")
    found = booted.shell(
        "vm0", "cd /dev/shm; sha256sum -c sum; rm c; until [ -e c ]; do usleep 9999; done; echo goes on"
    )
    assert found == "a: OK\nb: OK\ngoes on\n"
    assert booted.states() == {"vm0": "running", "vm1": "running"}


def test_all_stand_still_before_any_goes_on(booted: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    acts: list[str] = []
    real = {name: getattr(checkpoint, name) for name in ("pause", "save", "resume")}

    def noted(name: str) -> Callable[..., Any]:
        def act(vm: VM, *args: Any) -> Any:
            acts.append(name)
            if name == "save":
                assert [one.domain().state()[0] for one in vms] == [libvirt.VIR_DOMAIN_PAUSED] * 2
            return real[name](vm, *args)

        return act

    with prefix_of(booted) as prefix:
        vms = list(prefix.virt_env.get_vms().values())
        for name in real:
            monkeypatch.setattr(checkpoint, name, noted(name))
        prefix.create_snapshots("order")
    assert acts == ["pause", "pause", "save", "save", "resume", "resume"]


def test_one_that_stood_still_before_does_so_afterwards(booted: Box) -> None:
    with prefix_of(booted) as prefix:
        vm = prefix.virt_env.get_vm("vm1")
        vm.domain().suspend()
        prefix.create_snapshots("still")
        assert booted.states() == {"vm0": "running", "vm1": "paused"}
        vm.domain().resume()
    streamed(booted)
    booted.lago("revert", "still")
    assert booted.shell("vm1", "hostname") == "vm1\n"


def test_what_fails_is_saved_by_libvirt_and_told(booted: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    def unravel(pipe: int, *args: Any) -> None:
        os.read(pipe, 1 << 20)
        raise HypervisorError("an example")

    booted.shell("vm0", FILL)
    with prefix_of(booted) as prefix:
        monkeypatch.setattr(precopy, "unravel", unravel)
        prefix.create_snapshots("whole")
    log = (booted.prefix / "logs" / "lago.log").read_text(errors="replace")
    assert re.search("vm[01] can't be saved while it runs: an example", log)
    assert WHOLE in log
    files = {path.name.partition(".")[2] for path in (booted.prefix / "snapshots").iterdir()}
    assert files == {"vm0.mem", "vm1.mem"}
    booted.lago("revert", "whole")
    assert "OK" in booted.shell("vm0", "sha256sum -c /dev/shm/sum")
    monkeypatch.undo()
    booted.lago("snapshot", "again")
    booted.lago("revert", "again")
    assert "OK" in booted.shell("vm0", "sha256sum -c /dev/shm/sum")


@pytest.mark.parametrize("when", ["while it runs", "while it stands still"])
def test_a_machine_that_ends_while_it_is_saved_is_told(booted: Box, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    def unravel(pipe: int, file: int, state: Any, parts: list[str], halt: Callable[[float], None]) -> None:
        def ends(reached: float) -> None:
            halt(reached)
            if reached > (0.5 if when == "while it runs" else 1):
                prefix.virt_env.hypervisor.kill(victim.libvirt_name())

        real_unravel(
            pipe, file, state, parts, ends if str(victim.name()) in os.readlink(f"/proc/self/fd/{file}") else halt
        )

    with prefix_of(booted) as prefix:
        victim = prefix.virt_env.get_vm("vm1")
        monkeypatch.setattr(precopy, "unravel", unravel)
        with pytest.raises(LagoError, match="vm1"):
            prefix.create_snapshots("ended")
    assert booted.states() == {"vm0": "running", "vm1": "shut off"}
    assert list((booted.prefix / "snapshots").iterdir()) == []
    assert booted.shell("vm0", "hostname") == "vm0\n"


def test_an_interrupt_leaves_machines_as_they_were(booted: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()

    def settled(_: precopy.Precopy) -> bool:
        assert begun.wait(60)
        raise KeyboardInterrupt

    def halt(self: precopy.Precopy, one: Any, reached: float, real: Any = precopy.Precopy._halt) -> None:
        begun.set()
        real(self, one, reached)

    with prefix_of(booted) as prefix:
        monkeypatch.setattr(precopy.Precopy, "_settled", settled)
        monkeypatch.setattr(precopy.Precopy, "_halt", halt)
        with pytest.raises(KeyboardInterrupt):
            prefix.create_snapshots("interrupted")
    monkeypatch.undo()
    assert booted.states() == {"vm0": "running", "vm1": "running"}
    assert list((booted.prefix / "snapshots").iterdir()) == []
    booted.lago("snapshot", "now")
    streamed(booted)
    booted.lago("revert", "now")
    assert booted.shell("vm1", "hostname") == "vm1\n"


@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_any_point_machines_go_on_and_can_be_saved(booted: Box, times: int) -> None:
    booted.shell("vm0", FILL)
    directory = booted.prefix / "snapshots"
    for number in range(times):
        process = booted.popen("snapshot", "new")
        # From the first bytes of memory to when all is written.
        wanted = number * (100 << 20) // times
        assert wait_for(
            lambda: process.poll() is not None or sum(f.stat().st_blocks * 512 for f in listed(directory)) > wanted  # noqa: B023
        )
        process.kill()
        process.communicate()
        assert set(booted.status()["VMs"]) == {"vm0", "vm1"}
        booted.lago("start")
        assert booted.states() == {"vm0": "running", "vm1": "running"}
        booted.lago("snapshot", "--delete", "new", code=None)
        assert listed(directory) == []
    booted.lago("snapshot", "after")
    streamed(booted)
    booted.lago("revert", "after")
    assert "OK" in booted.shell("vm0", "sha256sum -c /dev/shm/sum")


def listed(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.exists() else []


@pytest.mark.slow
def test_killed_when_qemu_is_done_and_waits_machines_go_on(booted: Box) -> None:
    """The longest pause that there is: QEMU has written all, and nobody lets it go on."""
    script = (
        "import os, signal, sys; from lago.environment.prefix import Prefix; from lago.virt import checkpoint\n"
        "checkpoint.save = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Prefix(sys.argv[1]).create_snapshots('killed')"
    )
    argv = booted.argv("python3", "-c", script, str(booted.prefix))
    done = subprocess.run(argv, env=booted.environment(), capture_output=True, check=False)
    assert done.returncode == -9, done.stderr
    assert booted.states() == {"vm0": "paused", "vm1": "paused"}
    booted.lago("start")
    assert booted.states() == {"vm0": "running", "vm1": "running"}
    assert listed(booted.prefix / "snapshots") == []
    assert booted.shell("vm0", "hostname") == "vm0\n"


def test_a_disk_that_becomes_full_meanwhile_is_told_and_guests_go_on(
    mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unravel(pipe: int, file: int, state: Any, parts: list[str], halt: Callable[[float], None]) -> None:
        def fills(reached: float) -> None:
            halt(reached)
            if reached > 0.25 and not filler.exists():
                with filler.open("wb") as one:
                    os.posix_fallocate(one.fileno(), 0, shutil.disk_usage(tmp_path).free)

        real_unravel(pipe, file, state, parts, fills)

    filler = tmp_path / "filler"
    with small(tmp_path, 1_000_000), contextlib.closing(Box(tmp_path)) as box:
        box.write(TWO)
        box.lago("init")
        box.lago("start")
        box.shell("vm0", FILL)
        with prefix_of(box) as prefix:
            monkeypatch.setattr(precopy, "unravel", unravel)
            with pytest.raises(LagoError) as raised:
                prefix.create_snapshots("full")
            assert "can't be saved" in raised.value.render()
            assert "hint: the disk is full: lago snapshot delete" in raised.value.render()
        filler.unlink()
        assert box.states() == {"vm0": "running", "vm1": "running"}
        assert "OK" in box.shell("vm0", "sha256sum -c /dev/shm/sum; echo more >/root/more; sync")
        assert listed(box.prefix / "snapshots") == []
        box.lago("destroy", "--yes")


@pytest.mark.slow
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_cells_several_disks_and_firmware(mini: Path, tmp_path: Path, firmware: str) -> None:
    with contextlib.closing(Box(tmp_path)) as box:
        box.up(CELLS % firmware)
        with prefix_of(box) as prefix:
            assert len(prefix.virt_env.get_vm("cells").domain().XMLDesc().split("<cell ")) == 2 + 1
        box.shell("cells", "head -c 150000000 /dev/urandom >/dev/shm/data; sha256sum /dev/shm/data >/dev/shm/sum")
        box.shell("cells", "mkdir /data; mkfs.ext4 -q /dev/vdb; mount /dev/vdb /data; echo kept >/data/name; sync")
        box.lago("snapshot", "base")
        streamed(box)
        box.shell("cells", "rm /dev/shm/data; echo lost >/data/name; sync; head -c 90000000 /dev/zero >/dev/shm/other")
        for _ in range(2):
            box.lago("revert", "base")
            assert box.shell("cells", "cat /data/name; nproc; sha256sum -c /dev/shm/sum").splitlines() == [
                "kept",
                "4",
                "/dev/shm/data: OK",
            ]
            box.shell("cells", "dmesg | grep -i 'bad page\\|corrupt' && false || true")


@pytest.mark.slow
def test_three_machines_of_different_size_are_saved_in_step(mini: Path, tmp_path: Path) -> None:
    text = "".join(
        f"  vm{n}: {MINI.replace('128', str(size)) % '{net: lan}'}\n" for n, size in enumerate((128, 512, 128))
    )
    with contextlib.closing(Box(tmp_path)) as box:
        box.up(f"domains:\n{text}nets: {{lan: {{}}}}\n")
        box.shell("vm1", "head -c 200000000 /dev/urandom >/dev/shm/data; sha256sum /dev/shm/data >/dev/shm/sum")
        with prefix_of(box) as prefix:
            saving = prefix.create_snapshots("three")
        rounds = streamed(box)
        box.lago("revert", "three")
        assert "OK" in box.shell("vm1", "sha256sum -c /dev/shm/sum")
        assert saving.pause < 10, rounds
