"""Clocks of guests that stood still, or went back: they are the host's again, whatever it took to reach them."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from lago import Prefix
from lago.environment.snapshots.index import Index
from lago.errors import Errors, HypervisorError
from lago.guest.ssh import Guest
from lago.host.locks import lock_if_free
from lago.virt import VM, VirtEnv, checkpoint, clock

from .box import MINI, THREE, TWO, Box

_EPSILON = 0.05
_SLOW = 5.0
"""Seconds that something takes longer than it must, so that what is late because of it is not lost in a busy host."""


@pytest.fixture(scope="module")
def env(module_box: Box) -> Iterator[VirtEnv]:
    """Two machines; the `date` of vm1 is busybox's, which knows no fractions of a second."""
    module_box.up_warm(TWO)
    env = Prefix(str(module_box.prefix)).virt_env
    for vm in env.get_vms().values():
        assert vm.succeed("cp /bin/date /bin/clock; /bin/clock -u -d @0.5 +%s.%N") == "0.500000000\n"
    env.get_vm("vm1").succeed("ln -sf busybox /bin/date; ! /bin/date -u -d @0.5 && /bin/date -u -d @0")
    yield env
    env.close()


def behind(vm: VM) -> tuple[float, float]:
    """Seconds by which the clock of a guest is behind ours: at least, and at most."""
    before = time.time()
    guest = float(vm.succeed("if test -e /bin/clock; then /bin/clock +%s.%N; else /bin/date +%s.%N; fi"))
    after = time.time()
    return before - guest, after - guest


def agrees(vm: VM, late: float) -> None:
    """See that a clock is ours, but for `late` seconds that it may be behind because it was told late."""
    least, most = behind(vm)
    assert least <= late + _EPSILON
    assert most >= -_EPSILON, "it is ahead"


def test_a_guest_is_told_the_time_of_when_it_is_told(env: VirtEnv) -> None:
    for vm in env.get_vms().values():
        vm.succeed("date -u -s @1000000000")
        assert behind(vm)[0] > 1000
        began = time.time()
        clock.put_right(vm)
        agrees(vm, time.time() - began)


def test_fractions_of_a_second_count(env: VirtEnv) -> None:
    for vm in env.get_vms().values():
        lag = []
        for _ in range(5):
            began = time.time()
            clock.put_right(vm)
            lag.append((behind(vm), time.time() - began))
        # One that was cut to whole seconds is half a second behind on average, or ahead if it was rounded.
        assert all(least <= took + _EPSILON for (least, _), took in lag), lag
        assert all(most >= -_EPSILON for (_, most), _ in lag), lag


def test_after_a_revert_clocks_are_not_behind_by_the_time_of_the_login(
    env: VirtEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged_in: dict[str, float] = {}
    open_ = Guest.open

    def slowly(guest: Guest, *args: Any) -> None:
        open_(guest, *args)
        threading.Event().wait(_SLOW)
        logged_in[guest.name] = time.time()

    env.snapshots.create_snapshots("then")
    monkeypatch.setattr(Guest, "open", slowly)
    env.snapshots.revert_snapshots("then")
    end = time.time()
    assert set(logged_in) == {"vm0", "vm1"}
    for vm in env.get_vms().values():
        agrees(vm, end - logged_in[vm.name()])


@pytest.mark.slow
def test_a_snapshot_does_not_put_clocks_back(env: VirtEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    pause, resume = checkpoint.pause, checkpoint.resume
    going_on: list[float] = []

    def slowly(vm: VM) -> bool:
        ran = pause(vm)
        threading.Event().wait(_SLOW)
        return ran

    def noted(vm: VM) -> None:
        going_on.append(time.time())
        resume(vm)

    for vm in env.get_vms().values():
        clock.put_right(vm)
    monkeypatch.setattr(checkpoint, "pause", slowly)
    monkeypatch.setattr(checkpoint, "resume", noted)
    prefix = env.snapshots
    assert isinstance(prefix, Prefix)
    taken = prefix.create_snapshots("slow")
    end = time.time()
    assert taken.pause >= _SLOW
    for vm in env.get_vms().values():
        agrees(vm, end - min(going_on))


class Reading(NamedTuple):
    """What a clock was read to be: behind ours by at least and at most so many seconds."""

    least: float
    most: float

    @property
    def round_trip(self) -> float:
        """Seconds that the reading took."""
        return self.most - self.least


def read(vm: VM) -> Reading:
    """The quickest of some readings."""
    return min((Reading(*behind(vm)) for _ in range(3)), key=lambda one: one.round_trip)


def are_right(readings: Mapping[str, Reading]) -> bool:
    """Whether clocks are ours, and each other's, as exactly as they can be told and read by a round trip."""
    alone = all(
        one.least <= _EPSILON + one.round_trip and one.most >= -_EPSILON - one.round_trip for one in readings.values()
    )
    together = all(
        one.least - other.most <= _EPSILON + max(one.round_trip, other.round_trip)
        for one, other in itertools.permutations(readings.values(), 2)
    )
    return alone and together


@pytest.mark.slow
def test_who_waits_for_the_connection_is_told_the_time_of_after_that(env: VirtEnv) -> None:
    for vm in env.get_vms().values():
        vm.succeed("date -u -s @1000000000")
        # Somebody has the connection, and somebody else is to make another one.
        taken = [lock_if_free(f"{vm.guest.control}.{what}") for what in ("busy", "opening")]
        putting = threading.Thread(target=clock.put_right, args=(vm,))
        putting.start()
        putting.join(_SLOW)
        assert putting.is_alive()
        for fd in taken:
            assert fd is not None
            os.close(fd)
        putting.join()
        found = read(vm)
        assert are_right({vm.name(): found}), found


@pytest.mark.slow
def test_a_snapshot_that_fails_does_not_put_clocks_back(env: VirtEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        threading.Event().wait(_SLOW)
        raise HypervisorError("it can't be saved")

    monkeypatch.setattr(checkpoint, "save", fails)
    with pytest.raises(Errors):
        env.snapshots.create_snapshots("failed")
    readings = {name: read(vm) for name, vm in env.get_vms().items()}
    assert are_right(readings), readings


@pytest.mark.slow
def test_who_finds_machines_standing_still_puts_their_clocks_right(env: VirtEnv) -> None:
    index = Index.load(env.paths)
    index.busy = True
    index.save(env.paths)
    for vm in env.get_vms().values():
        assert checkpoint.pause(vm)
    threading.Event().wait(_SLOW)
    prefix = env.snapshots
    assert isinstance(prefix, Prefix)
    with prefix.operation("Look"):
        pass
    readings = {name: read(vm) for name, vm in env.get_vms().items()}
    assert are_right(readings), readings


def _spin() -> None:
    while True:
        pass


@contextlib.contextmanager
def busy_host(number: int = 2) -> Iterator[None]:
    """Context manager: so many programs take all the time that they get."""
    spinning = [multiprocessing.get_context("spawn").Process(target=_spin, daemon=True) for _ in range(number)]
    for one in spinning:
        one.start()
    try:
        yield
    finally:
        for one in spinning:
            one.kill()
            one.join()


@pytest.fixture
def cluster(box: Box) -> Iterator[VirtEnv]:
    """Three machines that run."""
    box.up(THREE)
    env = Prefix(str(box.prefix)).virt_env
    yield env
    env.close()


@pytest.mark.slow
def test_after_each_revert_on_a_busy_host_the_clocks_of_a_cluster_are_right(cluster: VirtEnv) -> None:
    cluster.snapshots.create_snapshots("then")
    with busy_host():
        for number in range(8):
            cluster.snapshots.revert_snapshots("then")
            readings = {name: read(vm) for name, vm in cluster.get_vms().items()}
            for name, one in readings.items():
                print(f"revert {number}, {name}: behind by {one.least:.3f} to {one.most:.3f} s")
            assert are_right(readings), readings


@pytest.fixture
def agents(debian: None, box: Box) -> Iterator[VirtEnv]:
    """Two machines that run; into `new` one logs in as somebody who may not set the clock, and there is an agent."""
    box.env["LAGO_BOOT_TIMEOUT"] = "90"
    new = MINI.replace("mini", "debian12").replace("128", "512") % "{net: lan}"
    box.up(f"domains: {{new: {new}, old: {MINI % '{net: lan}'}}}\nnets: {{lan: {{}}}}\n")
    prefix = Prefix(str(box.prefix))
    vm = prefix.virt_env.get_vm("new")
    vm.succeed("useradd -m plain; cp -r /root/.ssh /home/plain; chown -R plain: /home/plain/.ssh")
    vm.wait_until_succeeds("systemctl is-active qemu-guest-agent")
    vm.guest.close()
    vm.spec = replace(vm.spec, ssh_user="plain")
    prefix.save()
    prefix.virt_env.close()
    env = Prefix(str(box.prefix)).virt_env
    yield env
    env.close()


@pytest.mark.slow
def test_a_guest_whose_user_may_not_set_the_clock_is_told_by_its_agent(agents: VirtEnv, box: Box) -> None:
    new = agents.get_vm("new")
    new.fail("sudo -n true", "date -u -s @1000000000")
    agents.snapshots.create_snapshots("then")
    for _ in range(2):
        agents.snapshots.revert_snapshots("then")
        readings = {name: read(vm) for name, vm in agents.get_vms().items()}
        assert are_right(readings), readings
    # So is one that nobody is logged in to.
    assert checkpoint.pause(new)
    threading.Event().wait(_SLOW)
    checkpoint.resume(new)
    new.guest.close()
    clock.put_right(new)
    found = read(new)
    assert are_right({"new": found}), found
    box.lago("fork", "other", "--from", "then")
    fork = Prefix(str(box.place / ".lago" / "other")).virt_env
    try:
        readings = {name: read(vm) for name, vm in fork.get_vms().items()}
        assert are_right(readings), readings
    finally:
        fork.close()
