"""Machines that are broken on purpose: it bites, seen from inside, it heals, and it goes with snapshots and forks."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago import Prefix
from lago.errors import LagoError, VMError, VMNotFound, VMNotRunning
from lago.virt import VM, VirtEnv

from ..users import User
from .box import Box, kill, processes, wait_for
from .test_in_place import DIES

MACHINE = "{memory: 128, vcpu: 1, disks: [{template_name: mini, name: root}, %s], nics: [{net: lan}]}"
INIT = f"""
domains:
  db: {MACHINE % "{size: 8M, name: data}"}
  web: {MACHINE % "{size: 8M, name: data, dev: sdb}"}
nets: {{lan: {{}}}}
"""
WRITE = "dd if=/dev/zero of=/dev/vdb bs=4k count=1 oflag=direct"
READ = "dd if=/dev/vdb of=/dev/null bs=4k count=%d iflag=direct"
EIO = "Input/output error"


class Broke:
    """The environment of the module, all well when a test begins."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.prefix = Prefix(str(box.prefix))
        self.env: VirtEnv = self.prefix.virt_env
        self.db, self.web = (self.env.get_vm(name) for name in ("db", "web"))

    def pids(self) -> list[int]:
        """Processes of the machines."""
        return [self.box.qemu(name) for name in ("db", "web")]

    def kinds(self) -> list[str]:
        """What is broken now."""
        return [one.kind for one in self.prefix.faults()]

    def works(self) -> None:
        """See that nothing is wrong with db."""
        assert self.kinds() == []
        self.db.succeed(WRITE, READ % 60, "touch /root/x && sync")
        assert abs(ahead(self.db)) < 2
        assert self.db.running()


@pytest.fixture(scope="module")
def module_broke(module_box: Box) -> Iterator[Broke]:
    """Two machines, of which db has a second disk on virtio, and web on SCSI; they run on the memory of `well`."""
    module_box.up_warm(INIT)
    made = Broke(module_box)
    made.prefix.create_snapshots("well")
    made.prefix.revert_snapshots("well")
    yield made
    made.env.close()


@pytest.fixture
def broke(module_broke: Broke) -> Iterator[Broke]:
    """What a test has broken and left so is healed by going back."""
    yield module_broke
    if module_broke.kinds() or set(module_broke.env.states().values()) != {"running"}:
        module_broke.prefix.revert_snapshots("well")
    assert module_broke.kinds() == []


def ahead(vm: VM) -> float:
    """Seconds by which the clock of a guest is ahead of ours."""
    before = time.time()
    return float(vm.succeed("/bin/date +%s.%N")) - (before + time.time()) / 2


def available(vm: VM) -> int:
    """MiB that a guest has for more."""
    return int(vm.succeed("grep MemAvailable /proc/meminfo").split()[1]) >> 10


@pytest.mark.parametrize(
    ("what", "reads", "writes"),
    [
        ("--error write", True, False),
        ("--error read", False, True),
        ("--error both", False, False),
        ("--read-only", True, False),
        ("--detach", False, False),
    ],
)
def test_a_disk_fails_what_it_is_told_to_and_then_works_again(
    broke: Broke, what: str, reads: bool, writes: bool
) -> None:
    with broke.prefix.inflict(f"disk db:data {what}"):
        for command, works in ((READ % 1, reads), (WRITE, writes)):
            status = broke.db.ssh(command, show_output=False)
            assert (not status) is works
            assert (EIO in status.error_text) is not works
    broke.works()


def test_a_disk_on_scsi_fails_as_well(broke: Broke) -> None:
    broke.web.succeed("modprobe -a virtio_scsi sd_mod")
    broke.web.wait_until_succeeds("test -b /dev/sda")
    write = WRITE.replace("vdb", "sda")
    with broke.web.disk("sdb").fail("write"):
        assert EIO in broke.web.fail(f"{write} 2>&1")
    broke.web.succeed(write)


def test_a_disk_is_slow_and_faults_of_one_disk_compose(broke: Broke) -> None:
    def seconds() -> float:
        began = time.monotonic()
        broke.db.succeed(READ % 40)
        return time.monotonic() - began

    with broke.db.disk("data").slow(iops=20) as slow:
        assert seconds() > 1
        with broke.db.disk("data").fail("write"):
            assert EIO in broke.db.fail(f"{WRITE} 2>&1")
            slow.heal()
            assert seconds() < 1
            assert EIO in broke.db.fail(f"{WRITE} 2>&1")
    broke.works()


def test_a_full_disk_pauses_the_machine_until_that_is_healed_and_nothing_is_lost(broke: Broke) -> None:
    said: list[str] = []
    with broke.db.disk("data").fill():
        broke.db.succeed(READ % 1)
        writer = threading.Thread(target=lambda: said.append(broke.db.succeed(f"{WRITE} 2>&1 && echo written")))
        writer.start()
        assert wait_for(lambda: broke.box.states()["db"] == "paused")
        # It does not let others wait.
        broke.prefix.create_snapshots("full", replace=True)
    writer.join(60)
    assert "written" in said[0]
    broke.works()
    broke.prefix.revert_snapshots("full")
    assert broke.kinds() == ["disk"]
    broke.prefix.heal()
    broke.works()


def test_a_frozen_machine_stands_still_holds_nobody_up_and_goes_on(broke: Broke) -> None:
    box, db = broke.box, broke.db
    db.succeed("(while :; do echo x >>/run/count; usleep 20000; done) >/dev/null 2>&1 &")
    with db.frozen() as frozen:
        [fault] = broke.prefix.faults()
        began = time.monotonic()
        assert box.states() == {"db": "paused", "web": "running"}
        assert box.status()["Faults"][fault.id]["fault"] == "freeze db"
        assert f"lago heal {fault.id}" in box.lago("shell", "db", "-c", "true", code=2).err
        with pytest.raises(VMNotRunning):
            db.ssh(["true"])
        with pytest.raises(VMNotRunning, match="db is paused, so nothing inside of it can be changed"):
            db.skew(3600)
        assert broke.kinds() == ["freeze"]
        box.lago("snapshot", "cold")
        box.lago("snapshot", "colder", "--disk-only")
        box.lago("start")
        assert time.monotonic() - began < 30
        assert box.states()["db"] == "paused"
        frozen.heal()
        assert broke.kinds() == []
    broke.works()
    counted = int(db.succeed("wc -l </run/count"))
    assert wait_for(lambda: int(db.succeed("wc -l </run/count")) > counted)
    broke.prefix.revert_snapshots("cold")
    pids = broke.pids()
    # The first time by a new QEMU, then in place.
    for _ in range(2):
        assert broke.kinds() == ["freeze"]
        assert box.states() == {"db": "paused", "web": "running"}
        assert broke.pids() == pids
        broke.prefix.revert_snapshots("cold")
    broke.prefix.heal("db")
    assert abs(int(db.succeed("wc -l </run/count")) - counted) < counted + 1000
    broke.works()


def test_a_clock_is_wrong_also_after_snapshots_and_is_right_again(broke: Broke) -> None:
    with broke.db.skew(3600), broke.db.skew(-60):
        assert ahead(broke.db) == pytest.approx(3540, abs=2)
        broke.prefix.create_snapshots("late", replace=True)
        assert ahead(broke.db) == pytest.approx(3540, abs=2)
    assert abs(ahead(broke.db)) < 2
    broke.prefix.revert_snapshots("late")
    assert broke.kinds() == ["clock", "clock"]
    assert ahead(broke.db) == pytest.approx(3540, abs=2)
    broke.prefix.revert_snapshots("well")
    broke.works()


@pytest.mark.slow
def test_a_clock_drifts_at_the_rate_that_is_said(broke: Broke) -> None:
    def rate() -> float:
        times = "cut -d' ' -f1 /proc/uptime; /bin/date +%s.%N"
        up, date, later_up, later = (float(word) for word in broke.db.succeed(f"{times}; sleep 2; {times}").split())
        return (later - date) / (later_up - up)

    # Uptime is counted by the same clock; the host's is not.
    with broke.db.skew(drift=0.05):
        before, first = time.time(), ahead(broke.db)
        assert wait_for(lambda: time.time() - before > 4)
        gained = ahead(broke.db) - first
        assert gained == pytest.approx(0.05 * (time.time() - before), abs=0.1)
        assert rate() == pytest.approx(1, abs=0.1)
    assert "tick:         10000 us" in broke.db.succeed("adjtimex")
    broke.works()


@pytest.mark.slow
def test_a_machine_gets_little_of_its_processor(broke: Broke) -> None:
    broke.db.succeed("(while :; do :; done) >/dev/null 2>&1 &")
    with broke.db.squeeze(cpu=0.2):
        assert 0 < share(broke.box.qemu("db")) < 0.3
        broke.prefix.create_snapshots("starved", replace=True)
    assert not _running("lago.host.pace")
    assert wait_for(lambda: share(broke.box.qemu("db"), 0.5) > 0.1)
    broke.prefix.revert_snapshots("starved")
    assert broke.kinds() == ["cpu"]
    assert 0 < share(broke.box.qemu("db")) < 0.3
    broke.prefix.heal("cpu")
    assert not _running("lago.host.pace")
    broke.works()


def test_a_machine_has_little_memory(broke: Broke) -> None:
    before = available(broke.db)
    with broke.db.squeeze(memory=100):
        assert available(broke.db) < before - 20
        broke.prefix.create_snapshots("tight", replace=True)
        with pytest.raises(VMError, match="can't do with 20 MiB"):
            broke.db.squeeze(memory=20)
        assert available(broke.db) < before - 20
        assert broke.kinds() == ["memory"]
    assert available(broke.db) > before - 15
    broke.prefix.revert_snapshots("tight")
    assert broke.kinds() == ["memory"]
    assert available(broke.db) < before - 20
    broke.prefix.heal()
    assert available(broke.db) > before - 15
    broke.works()


def test_what_breaks_a_disk_goes_with_snapshots_in_place(broke: Broke) -> None:
    prefix, db = broke.prefix, broke.db
    prefix.revert_snapshots("well")
    pids = broke.pids()
    prefix.inflict("disk db --iops 200 --error write", "disk web --detach")
    assert EIO in db.fail(f"{WRITE} 2>&1")
    prefix.revert_snapshots("well")
    assert broke.pids() == pids
    broke.works()
    prefix.inflict("disk db:data --iops 200 --error write", "disk web:data --detach")
    prefix.create_snapshots("worn", replace=True)
    # The first time by a new QEMU, then in place.
    prefix.revert_snapshots("worn")
    assert broke.kinds() == ["disk", "disk"]
    assert EIO in db.fail(f"{WRITE} 2>&1")
    pids = broke.pids()
    prefix.revert_snapshots("worn")
    assert broke.pids() == pids
    assert EIO in db.fail(f"{WRITE} 2>&1")
    db.succeed(READ % 1)
    prefix.heal()
    for vm in (db, broke.web):
        vm.succeed("touch /root/x && sync && ! dmesg | grep 'EXT4-fs error'")
    broke.works()


@pytest.mark.slow
def test_a_fork_has_the_same_faults_and_they_are_its_own(broke: Broke, tmp_path: Path) -> None:
    broke.prefix.inflict("disk db:data --error write", "clock db +1h", "freeze web", "cpu db 50%")
    fork = broke.prefix.fork(str(tmp_path / "fork"))
    try:
        with contextlib.closing(fork.virt_env) as env:
            assert [one.kind for one in fork.faults()] == ["disk", "clock", "freeze", "cpu"]
            db = env.get_vm("db")
            assert EIO in db.fail(f"{WRITE} 2>&1")
            assert ahead(db) == pytest.approx(3600, abs=5)
            assert env.states() == {"db": "running", "web": "paused"}
            broke.prefix.heal()
            broke.works()
            assert EIO in db.fail(f"{WRITE} 2>&1")
            fork.heal()
            db.succeed(WRITE)
            env.get_vm("web").succeed("true")
            assert abs(ahead(db)) < 2
    finally:
        fork.destroy()


@pytest.mark.parametrize(
    "name",
    [
        "lago.virt.disk_fault.set_condition",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("lago.virt.clock.tell", "lago.virt.starve.limit")),
    ],
)
def test_what_was_begun_by_a_lago_that_was_killed_is_finished(broke: Broke, name: str) -> None:
    module, _, function = name.rpartition(".")
    words = ["disk db:data --error write", "clock db +1h", "cpu db 50%"]
    code = DIES.replace("sys.exit(main(words))", "Prefix(sys.argv[4]).inflict(*sys.argv[5:])").replace(
        "from lago.cli.main import main", "from lago import Prefix"
    )
    argv = [sys.executable, "-c", code, module, function, "after", str(broke.box.prefix), *words]
    killed = subprocess.run(argv, env=broke.box.environment(), capture_output=True, text=True)
    assert killed.returncode == -9, killed
    broke.prefix.heal("cpu")
    assert broke.kinds() == ["disk", "clock"]
    assert EIO in broke.db.fail(f"{WRITE} 2>&1")
    assert ahead(broke.db) == pytest.approx(3600, abs=5)
    broke.prefix.heal()
    broke.works()


@pytest.mark.slow
def test_a_panic_and_a_power_cut_are_healed_by_a_boot_and_what_else_is_broken_stays_so(broke: Broke) -> None:
    box, prefix = broke.box, broke.prefix
    for vm in (broke.db, broke.web):
        vm.succeed("echo kept >/root/kept && sync && touch /run/booted")
    prefix.inflict("disk db:data --error write", "memory db 110M", "clock web -1h")
    with prefix.inflict("power-cut db", "panic web"):
        assert box.states() == {"db": "down", "web": "running"}
        assert "Kernel panic - not syncing" in box.lago("logs", "web").out
        with pytest.raises(VMNotRunning, match="db is down, so nothing of it can be broken"):
            prefix.inflict("freeze web", "freeze db")
        assert "freeze" not in broke.kinds()
    for vm in (broke.db, broke.web):
        vm.succeed("grep kept /root/kept && ! test -e /run/booted")
    assert EIO in broke.db.fail(f"{WRITE} 2>&1")
    assert broke.db.succeed("stat -c %s /run/lago-squeeze/held") == f"{18 << 20}\n"
    assert ahead(broke.web) == pytest.approx(-3600, abs=5)
    box.lago("stop", "web")
    assert broke.kinds() == ["disk", "memory"]


@pytest.mark.slow
def test_a_reset_boots_and_killed_is_down(broke: Broke) -> None:
    boot = "cat /proc/sys/kernel/random/boot_id"
    before = broke.web.succeed(boot)
    broke.db.kill()
    broke.web.reset()
    assert broke.web.succeed(boot) != before
    assert broke.kinds() == []
    assert broke.box.states() == {"db": "down", "web": "running"}


@pytest.mark.slow
def test_power_comes_back_by_a_start(broke: Broke) -> None:
    broke.prefix.inflict("power-cut db")
    broke.box.lago("start", "db")
    assert broke.kinds() == []
    assert broke.box.states() == {"db": "running", "web": "running"}


def test_a_machine_that_was_left_stopped_by_what_starves_it_is_healed(broke: Broke) -> None:
    """Whatever becomes of the program that does so."""
    broke.prefix.inflict("cpu db 1%")
    pid = broke.box.qemu("db")
    [pacer] = _running("lago.host.pace")
    assert wait_for(lambda: _fields(pid)[0] == "T")
    kill(pacer)
    assert wait_for(lambda: not _running("lago.host.pace"))
    broke.prefix.heal()
    assert wait_for(lambda: _fields(pid)[0] != "T")
    broke.works()


@pytest.mark.slow
def test_an_ordinary_user_breaks_machines_as_well(mini: Path, throwaway_user: User) -> None:
    with contextlib.closing(Box.of_user(throwaway_user, mini, "faults")) as box:
        box.up(INIT)
        box.shell("db", "(while :; do :; done) >/dev/null 2>&1 &")
        box.lago("fault", "disk", "db:data", "--error", "write", "--iops", "100")
        box.lago("fault", "cpu", "db", "10%")
        box.lago("fault", "clock", "web", "-1h", "--drift", "-100ppm")
        box.lago("fault", "memory", "web", "110M")
        assert EIO in box.shell("db", f"{WRITE} 2>&1", code=1)
        assert 0 < share(box.qemu("db")) < 0.2
        box.lago("fault", "freeze", "db")
        assert box.states() == {"db": "paused", "web": "running"}
        box.lago("snapshot", "broken")
        box.lago("heal")
        assert box.states() == {"db": "running", "web": "running"}
        box.shell("db", WRITE)
        box.lago("revert", "broken")
        box.lago("heal", "freeze")
        assert EIO in box.shell("db", f"{WRITE} 2>&1", code=1)


def _running(what: str) -> list[int]:
    return [pid for pid, command in processes() if what in command]


def _fields(pid: int) -> list[str]:
    """What proc(5) has of a process in `stat`, from its state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def share(pid: int, seconds: float = 2.0) -> float:
    """Part of the time for which a process ran on processors."""

    def used() -> float:
        return sum(int(field) for field in _fields(pid)[11:13]) / os.sysconf("SC_CLK_TCK")

    began, before = time.monotonic(), used()
    assert wait_for(lambda: time.monotonic() - began > seconds)
    return (used() - before) / (time.monotonic() - began)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("freeze bd", VMNotFound, "there is no machine bd"),
        ("disk db:dta --detach", LagoError, "db has no disk dta"),
        ("disk db:data", LagoError, "disk does not say what is wrong"),
        ("disk db --full --detach", LagoError, "disk takes one of --detach and --full"),
        ("freeze db db", LagoError, "db is named twice"),
        ("clock db", LagoError, "clock does not say what is wrong"),
        ("cpu db 100%", LagoError, "100% of its processors can't be left to a machine"),
        ("memory db 128M", LagoError, "db has no more than 128M of memory"),
    ],
)
def test_bad_input_is_told_and_nothing_is_broken(broke: Broke, text: str, error: type[LagoError], message: str) -> None:
    with pytest.raises(error) as caught:
        broke.prefix.inflict("freeze web", text)
    assert caught.value.what == message
    assert caught.value.hint
    assert broke.kinds() == []
    assert broke.web.running()
