"""Clocks of guests that stood still, or went back: they are the host's again, whatever it took to reach them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lago import Prefix
from lago.environment.snapshots import guests
from lago.guest.ssh import Guest
from lago.virt import VM, VirtEnv, checkpoint

from .box import TWO, Box

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
    guest = float(vm.succeed("/bin/clock +%s.%N"))
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
        guests.set_clock(vm)
        agrees(vm, time.time() - began)


def test_fractions_of_a_second_count(env: VirtEnv) -> None:
    for vm in env.get_vms().values():
        lag = []
        for _ in range(5):
            began = time.time()
            guests.set_clock(vm)
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


def test_a_snapshot_does_not_put_clocks_back(env: VirtEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    save, resume = checkpoint.save_apart, checkpoint.resume
    going_on: list[float] = []

    def slowly(*args: Any) -> None:
        save(*args)
        threading.Event().wait(_SLOW)

    def noted(vm: VM) -> None:
        going_on.append(time.time())
        resume(vm)

    for vm in env.get_vms().values():
        guests.set_clock(vm)
    monkeypatch.setattr(checkpoint, "save_apart", slowly)
    monkeypatch.setattr(checkpoint, "resume", noted)
    prefix = env.snapshots
    assert isinstance(prefix, Prefix)
    taken = prefix.create_snapshots("slow")
    end = time.time()
    assert taken.pause >= _SLOW
    for vm in env.get_vms().values():
        agrees(vm, end - min(going_on))
