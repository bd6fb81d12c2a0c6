"""Machines that were brought back, or stand paused since they were forked, go on and are waited for."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ... import config
from ...host.parallel import in_parallel
from ...log import task
from ...virt import checkpoint, clock

if TYPE_CHECKING:
    from ...virt import VM, VirtEnv
    from ...virt.readiness import Phase


def wake(env: VirtEnv, on_phase: Phase) -> None:
    """Let all machines go on that stand paused, and return when they answer ssh. Raises VMNotReady if one does not."""
    vms = [vm for vm in env.get_vms().values() if vm.provider is None and vm.alive()]
    with task("Let machines go on"):
        in_parallel(go_on, [vm for vm in vms if not vm.running()], what="go on")
    with task("Wait for ssh"):
        in_parallel(lambda vm: wait(vm, on_phase), vms, what="wait for ssh", cancel=env.cancelled.set)


def go_on(vm: VM) -> None:
    """Let a machine go on that stands still, unless it is frozen on purpose."""
    if not vm.env.on_purpose(vm.name()).stands:
        checkpoint.resume(vm)


def wait(vm: VM, on_phase: Phase, patience: float | None = None) -> None:
    """Return when a machine answers that ran before, with its clock set. Raises VMNotReady.

    One of which that can't be expected, for what is wrong with it on purpose, is not waited for.

    Args:
        patience: see `VM.wait_for_ssh`.
    """
    if vm.env.on_purpose(vm.name()).silent:
        return
    if vm.guest.address:
        first = partial(clock.answers, vm) if vm.provider is None else "true"
        vm.wait_for_ssh(config.get("ssh_tries"), on_phase, first, listens=True, patience=patience)
    elif vm.provider is None:
        clock.put_right(vm)
    on_phase(vm.name(), "up")
