"""Reverts in place: QEMU goes on, and guests find everything as it was in the snapshot."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path

import libvirt
import pytest

from lago.environment.prefix import Prefix
from lago.virt import VM, checkpoint, migration

from ..users import User
from .box import TWO, Box, wait_for
from .test_snapshots import COUNT

FIRMWARE = """
domains:
  vm0: {firmware: uefi, memory: 256, vcpu: 1, disks: [{template_name: mini}], nics: [{net: lan}]}
nets: {lan: {}}
"""
KINDS = """
domains:
  vm0: {memory: 256, vcpu: 2, disks: [{template_name: mini}, {size: 8M}], nics: [{net: lan}]}
  vm1: {memory: 128, vcpu: 4, disks: [{template_name: mini}, {size: 8M, dev: sdb}], nics: [{net: lan}]}
nets: {lan: {}}
"""
"""Several processors, which come with NUMA cells, and disks on two buses."""

PATTERN = "dd if=/dev/urandom of=/dev/shm/pattern bs=64k count=320 2>/dev/null; md5sum /dev/shm/pattern"
SPOIL = (
    "for i in $(seq 60); do dd if=/dev/urandom of=/dev/shm/pattern bs=4k seek=$((i * 83)) count=2 conv=notrunc; done"
)
"""Random pages here and there, of 20 MiB that are random already."""

WAYS = {
    "files": "for i in $(seq 20); do head -c 300000 /dev/urandom >/root/junk$i; done; sync; rm /etc/hostname; sync",
    "memory": SPOIL,
    "a module": "modprobe raid6_pq; modprobe dummy numdummies=1",
    "exhausted memory": "mount -o remount,size=100% /tmp; dd if=/dev/zero of=/tmp/all bs=1M; true",
    "its nets": "ip addr add 10.9.8.7/24 dev eth0; ip route add 10.1.0.0/16 via 10.9.8.1; ip link set lo down",
    "its only way out": "(usleep 300000; ip link set eth0 down) &",
    "processes": "killall -9 nc; killall -9 sshd sh; true",
    "much writing": "(while :; do dd if=/dev/urandom of=/root/more bs=64k count=16 conv=fsync; done) & sleep 1",
    "nothing": "true",
    "the clock": "date -s @1000000000",
    "a panic": "(usleep 300000; echo c >/proc/sysrq-trigger) &",
}
"""What guests do that is to be undone."""
RARE = ["files", "its only way out", "processes", "much writing", "nothing", "the clock", "a panic"]
COMMON = [way for way in WAYS if way not in RARE]


class Reverts:
    """An environment of two machines of which vm0 counts and tells vm1, with a snapshot `base` that they run on."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.sums: dict[str, str] = {}

    def begin(self) -> None:
        """Start all, take the snapshot, and go back to it the first time."""
        self.box.write(TWO)
        self.box.lago("init")
        self.box.lago("start")
        self.box.shell("vm1", "(tail -f /dev/null | nc -l -p 7000 >/root/got) >/dev/null 2>&1 & usleep 500000")
        self.box.shell("vm0", f"({COUNT} | nc vm1 7000) >/dev/null 2>&1 &")
        assert wait_for(lambda: self.told() > 5)
        self.sums = {name: self.box.shell(name, PATTERN) for name in ("vm0", "vm1")}
        self.box.lago("snapshot", "base")
        self.far = self.told()
        self.box.lago("revert", "base")

    def pids(self) -> dict[str, int]:
        """Process id of the QEMU of each machine."""
        return {name: self.box.qemu(name) for name in ("vm0", "vm1")}

    def told(self) -> int:
        """How far vm1 has heard vm0 count, without a gap."""
        heard = [int(line) for line in self.box.shell("vm1", "cat /root/got").split()]
        assert heard == list(range(1, len(heard) + 1))
        return len(heard)

    def back(self) -> None:
        """Go back, and see that all is as it was."""
        self.box.lago("revert", "base")
        self.right()

    def right(self) -> None:
        """See that all is as it was."""
        for name, files in (("vm0", ["count"]), ("vm1", ["got"])):
            assert self.box.shell(name, "md5sum /dev/shm/pattern") == self.sums[name]
            said = self.box.shell(
                name, "ls /root; hostname; cat /etc/hostname; lsmod | grep -c raid6; ls /sys/class/net"
            )
            assert said.split() == [*files, name, name, "0", "eth0", "lo"]
            assert "Oops" not in self.box.shell(name, "dmesg | grep -E 'Oops|BUG|EXT4-fs error' || true")
        heard = self.told()
        assert heard < self.far + 200
        assert wait_for(lambda: self.told() > heard)


@pytest.fixture(scope="module")
def two(module_box: Box) -> Reverts:
    """They have gone back once, so that they run on the memory of the snapshot."""
    made = Reverts(module_box)
    made.begin()
    return made


def log(box: Box) -> str:
    return (box.prefix / "logs" / "lago.log").read_text()


@pytest.mark.parametrize("way", [*COMMON, *(pytest.param(way, marks=pytest.mark.slow) for way in RARE)])
def test_whatever_guests_do_is_undone_while_qemu_goes_on(two: Reverts, way: str) -> None:
    pids = two.pids()
    for name in pids:
        two.box.lago("shell", name, "-c", f"({WAYS[way]}) >/dev/null 2>&1", code=None)
    two.back()
    assert two.pids() == pids


@pytest.mark.slow
def test_a_panic_that_was_undone_is_not_told_any_more(two: Reverts) -> None:
    two.back()
    pids = two.pids()
    two.box.shell("vm0", WAYS["a panic"])
    assert wait_for(lambda: "Kernel panic" in two.box.lago("logs", "vm0").out)
    two.back()
    two.box.lago("start")
    assert two.pids() == pids
    # Its log goes on also where QEMU does not.
    two.box.lago("stop", "vm0")
    two.back()
    assert two.pids() != pids
    assert "Kernel panic" in two.box.lago("logs", "vm0").out
    two.box.lago("start")


def test_memory_is_to_the_byte_what_it_was(two: Reverts, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def resume(vm: VM, real: Callable[[VM], None] = checkpoint.resume) -> None:
        [saved] = (two.box.prefix / "snapshots").glob(f"*.{vm.name()}.mem")
        compared.append(_differing(two.box.qemu(vm.name()), saved))
        real(vm)

    monkeypatch.setattr(checkpoint, "resume", resume)
    for name in two.pids():
        two.box.shell(name, SPOIL)
    prefix = Prefix(str(two.box.prefix))
    with contextlib.closing(prefix.virt_env):
        prefix.revert_snapshots("base")
    assert compared == [0, 0]
    two.right()


def _differing(pid: int, saved: Path) -> int:
    """How many pages of a process's mapping of a file are not those of the file."""
    found = 0
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory, open(saved, "rb", buffering=0) as file:
        [[begin, end]] = [
            [int(word, 16) for word in line.split()[0].split("-")]
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines()
            if line.endswith(f"/{saved.name}")
        ]
        assert end - begin == saved.stat().st_size
        for offset in range(0, end - begin, 1 << 20):
            ours, theirs = os.pread(memory.fileno(), 1 << 20, begin + offset), os.pread(file.fileno(), 1 << 20, offset)
            assert len(ours) == len(theirs) == 1 << 20
            found += sum(ours[at : at + 4096] != theirs[at : at + 4096] for at in range(0, 1 << 20, 4096))
    return found


@pytest.mark.parametrize("times", [5, 100])
@pytest.mark.slow
def test_nothing_grows(two: Reverts, times: int) -> None:
    for _ in range(5):
        two.box.lago("revert", "base")
    before, pids = _held(two), two.pids()
    for number in range(times):
        two.box.shell("vm0", f"echo {number} >/root/number; sync")
        two.box.lago("revert", "base")
    assert two.pids() == pids
    assert _held(two) == before
    two.right()


def _held(two: Reverts) -> dict[str, object]:
    """What a machine has open, and what is on disk for it."""
    found: dict[str, object] = {}
    with contextlib.closing(Prefix(str(two.box.prefix)).virt_env) as env:
        for name, pid in two.pids().items():
            found[name] = sorted(os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))
            nodes = migration.ask(env.get_vm(name).domain(), "query-named-block-nodes", {"flat": True})
            found[f"nodes of {name}"] = sorted(node["node-name"] for node in nodes)
        carriers = env.hypervisor.path_from_outside(f"{env.hypervisor.memory_dir}/carriers")
        found["carriers"] = sum(len(files) for _, _, files in os.walk(carriers))
    for directory in ("images", "snapshots"):
        found[directory] = sorted(path.name for path in (two.box.prefix / directory).iterdir())
    return found


def test_what_can_not_go_back_in_place_is_started_again_and_the_log_says_why(two: Reverts) -> None:
    box = two.box
    pids = two.pids()
    box.lago("stop", "vm1")
    box.lago("revert", "base")
    assert two.pids()["vm0"] == pids["vm0"]
    assert two.pids()["vm1"] != pids["vm1"]
    two.right()
    box.lago("stop", "vm1")
    box.lago("start", "vm1")
    box.lago("revert", "base")
    assert two.pids()["vm0"] == pids["vm0"]
    assert "vm1 is ended and started again: it does not run on the memory of this snapshot" in log(box)
    two.right()


@pytest.mark.slow
def test_a_machine_whose_hardware_is_another_is_started_again(two: Reverts) -> None:
    pids = two.pids()
    with contextlib.closing(Prefix(str(two.box.prefix)).virt_env) as env:
        domain = env.get_vm("vm0").domain()
        [interface] = ET.fromstring(domain.XMLDesc()).findall("devices/interface")
        ET.SubElement(interface, "link", state="down")
        domain.updateDeviceFlags(ET.tostring(interface, encoding="unicode"), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    two.back()
    assert two.pids()["vm0"] != pids["vm0"]
    assert two.pids()["vm1"] == pids["vm1"]
    assert "vm0 is ended and started again: its hardware is not what it was then: interface" in log(two.box)


@pytest.mark.slow
def test_a_machine_that_was_unplugged_from_its_net_is_plugged_in_again(two: Reverts) -> None:
    for way in ("down", "nomaster"):
        pids = two.pids()
        with contextlib.closing(Prefix(str(two.box.prefix)).virt_env) as env:
            text = env.get_vm("vm0").domain().XMLDesc()
            tap = text.partition("<target dev='vnet")[2].partition("'")[0]
            subprocess.run(env.hypervisor.command(["ip", "link", "set", f"vnet{tap}", way]), check=True)
        two.back()
        assert two.pids()["vm0"] != pids["vm0"]
        assert two.pids()["vm1"] == pids["vm1"]
        assert f"its device vnet{tap} is not plugged into" in log(two.box)


@pytest.mark.slow
def test_a_snapshot_on_the_way_is_no_obstacle(two: Reverts) -> None:
    box = two.box
    box.shell("vm0", "echo later >/root/later; sync")
    box.lago("snapshot", "later")
    two.back()
    box.lago("revert", "later")
    assert box.shell("vm0", "cat /root/later") == "later\n"
    two.back()
    box.lago("snapshot", "--delete", "later")
    pids = two.pids()
    two.back()
    assert two.pids() == pids


DIES = """
import importlib, os, signal, sys
from lago.cli.main import main
module, name, moment, *words = sys.argv[1:]
owner = importlib.import_module(module)
real = getattr(owner, name)
def dying(*args, **options):
    if moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    real(*args, **options)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, name, dying)
sys.exit(main(words))
"""
MOMENTS = [
    ("lago.environment.snapshots.in_place", "halt", "before"),
    ("lago.environment.snapshots.in_place", "halt", "after"),
    ("lago.virt.in_place", "_put_back", "before"),
    ("lago.virt.in_place", "_put_back", "after"),
    ("lago.virt.disk_swap", "_replace", "before"),
    ("lago.virt.disk_swap", "_replace", "after"),
    ("lago.virt.in_place", "_load", "before"),
    ("lago.virt.in_place", "_load", "after"),
    ("lago.virt.in_place", "go", "after"),
    ("lago.virt.checkpoint", "resume", "before"),
    ("lago.virt.checkpoint", "resume", "after"),
    ("lago.environment.snapshots.in_place", "keep_names", "before"),
    ("lago.environment.snapshots.in_place", "keep_names", "after"),
]


@pytest.mark.parametrize(
    ("module", "name", "moment"),
    [*MOMENTS[4::6], *(pytest.param(*one, marks=pytest.mark.slow) for one in MOMENTS if one not in MOMENTS[4::6])],
)
def test_killed_at_any_point_machines_are_either_as_before_or_as_then(
    two: Reverts, module: str, name: str, moment: str
) -> None:
    box = two.box
    two.back()
    for vm in ("vm0", "vm1"):
        box.shell(vm, "echo later >/root/later; echo later >/dev/shm/later; sync")
    words = [sys.executable, "-c", DIES, module, name, moment, "revert", "base"]
    killed = subprocess.run(words, cwd=box.place, env=box.environment(), capture_output=True, text=True)
    assert killed.returncode == -9, killed
    running = {vm for vm, state in box.states().items() if state in ("running", "paused")}
    assert running == {vm for vm in ("vm0", "vm1") if _has_qemu(box, vm)}
    box.lago("start")
    assert set(box.states().values()) == {"running"}
    for vm in ("vm0", "vm1"):
        disk, memory = (box.shell(vm, f"cat {path} 2>/dev/null || true") for path in ("/root/later", "/dev/shm/later"))
        assert disk == memory
        if disk:
            # It goes on, and has what it wrote after the next start as well.
            box.lago("stop", vm)
            box.lago("start", vm)
            assert box.shell(vm, "cat /root/later") == disk
    two.back()
    assert len(list((box.prefix / "images").iterdir())) == 6


def _reasons(box: Box) -> list[str]:
    """Why machines did not go back in place."""
    log = (box.prefix / "logs" / "lago.log").read_text(errors="replace")
    return [line for line in log.splitlines() if "is ended and started again" in line]


def _has_qemu(box: Box, vm: str) -> bool:
    with contextlib.suppress(ValueError):
        return bool(box.qemu(vm))
    return False


@pytest.fixture
def ordinary(mini: Path, throwaway_user: User) -> Iterator[Box]:
    """A directory of an ordinary user."""
    with contextlib.closing(Box.of_user(throwaway_user, mini, "in-place")) as box:
        yield box


@pytest.mark.slow
def test_an_ordinary_user_goes_back_in_place(ordinary: Box) -> None:
    two = Reverts(ordinary)
    two.begin()
    pids = two.pids()
    for command in (WAYS["files"], WAYS["memory"], WAYS["a module"]):
        for name in pids:
            two.box.shell(name, f"({command}) >/dev/null 2>&1")
        two.back()
        assert two.pids() == pids


@pytest.mark.slow
def test_what_firmware_keeps_goes_back_as_well(box: Box) -> None:
    box.env["LAGO_BOOT_TIMEOUT"] = "60"
    box.up(FIRMWARE)
    variables = "/sys/firmware/efi/efivars"
    owner = "6bd0f4a1-5c5e-4b0e-9c5d-0d6a3d5b7c11"

    def keep(name: str) -> None:
        box.shell("vm0", f"printf '\\007\\0\\0\\0%s' {name} >/tmp/v && cat /tmp/v >{variables}/{name}-{owner}")

    def kept() -> str:
        mounted = f"mountpoint -q {variables} || mount -t efivarfs efivarfs {variables}"
        return box.shell("vm0", f"{mounted}; cd {variables} && tail -qc 3 *-{owner}; hostname").strip()

    box.shell("vm0", f"mountpoint -q {variables} || mount -t efivarfs efivarfs {variables}")
    keep("one")
    box.lago("snapshot", "base")
    box.lago("revert", "base")
    pid = box.qemu()
    for _ in range(3):
        keep("two")
        assert kept() == "onetwovm0"
        box.shell("vm0", "rm /etc/hostname; sync")
        box.lago("revert", "base")
        assert kept() == "onevm0"
        assert box.qemu() == pid
    # The file has it too, which is all that there is when the machine is started again.
    box.lago("stop")
    box.lago("start")
    assert kept() == "onevm0"


@pytest.mark.slow
def test_several_processors_cells_and_disks_go_back_and_also_to_changes(box: Box) -> None:
    box.up(KINDS)
    box.shell(
        "vm1", "modprobe -a virtio_scsi sd_mod; for i in $(seq 100); do [ -b /dev/sda ] && break; usleep 100000; done"
    )
    disks = {"vm0": "/dev/vdb", "vm1": "/dev/sda"}

    def found(vm: str) -> str:
        return box.shell(vm, f"cat /dev/shm/pattern {disks[vm]} | md5sum; ls /root; nproc")

    def change(vm: str) -> None:
        box.shell(vm, f"{SPOIL} 2>/dev/null; dd if=/dev/urandom of={disks[vm]} bs=1k count=9; echo >/root/x; sync")

    for name in ("base", "changed"):
        for vm in disks:
            # Of much that changed a memory of its own is made, on which no machine runs yet.
            memory = PATTERN if name == "base" else f"{SPOIL} 2>/dev/null"
            box.shell(vm, f"{memory}; dd if=/dev/urandom of={disks[vm]} bs=1k count=9; sync")
        then = {vm: found(vm) for vm in disks}
        box.lago("snapshot", name)
        if name == "base":
            box.lago("revert", "base")
        pids = {vm: box.qemu(vm) for vm in disks}
        for _ in range(3):
            for vm in disks:
                change(vm)
                assert found(vm) != then[vm]
            box.lago("revert", name)
            assert {vm: found(vm) for vm in disks} == then
            assert {vm: box.qemu(vm) for vm in disks} == pids, _reasons(box)


@pytest.mark.slow
@pytest.mark.timeout(6000)
def test_no_page_is_wrong_in_a_thousand_reverts(two: Reverts) -> None:
    two.back()
    pids = two.pids()
    with contextlib.closing(Prefix(str(two.box.prefix)).virt_env) as env:
        for _ in range(1000):
            for vm in env.get_vms().values():
                vm.succeed(f"({SPOIL}) >/dev/null 2>&1")
            Prefix(str(two.box.prefix)).revert_snapshots("base")
            for vm in env.get_vms().values():
                assert vm.succeed("md5sum /dev/shm/pattern") == two.sums[vm.name()]
    assert two.pids() == pids
    two.right()
