"""Taking a snapshot: all machines stand still, are saved at one instant, and go on."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ...errors import LagoError
from ...host.files import sync
from ...host.parallel import in_parallel
from ...log import LOG, task
from ...virt import checkpoint, clock
from . import guests, layers
from . import memory as saved_memory
from .index import Index, Saved, Snapshot
from .layers import NewTop
from .remove import tidy

if TYPE_CHECKING:
    from ...paths import Paths
    from ...virt import VM, VirtEnv
    from ...virt.alike import Copy
    from ...virt.delta import Delta


@dataclass
class Saving:
    """A machine that is being saved; paths are as in the index.

    Attributes:
        running: whether it runs.
        tops: the images that it writes to from then on.
        memory: the file for its memory, if it runs and that is wanted.
        state: the file for what its devices hold, if that is saved apart from the memory.
        nvram: the file for what its firmware keeps, if it has such.
        console: the file for what it has said on its console, if its memory is saved and it said something.
        changed: what saves only what it changed, if that is possible.
        whole: why that is not possible.
    """

    vm: VM
    running: bool
    tops: tuple[NewTop, ...]
    memory: str | None
    state: str | None
    nvram: str | None
    console: str | None
    changed: Delta | None
    whole: str

    def files(self) -> list[str]:
        """All that is written, but for images."""
        return [path for path in (self.memory, self.state, self.nvram, self.console) if path]

    def base(self) -> str | None:
        """The file with its memory, which is another snapshot's if only changes are saved."""
        return self.memory if self.changed is None else layers.in_index(self.vm.env.paths, self.changed.base)

    def saved(self) -> Saved:
        """What the snapshot has of it."""
        disks = {top.disk.name: top.backing for top in self.tops}
        return Saved(
            disks=disks,
            memory=self.base(),
            nvram=self.nvram,
            state=self.state,
            whole=self.whole,
            console=self.console,
        )


def take(
    env: VirtEnv,
    name: str,
    vms: Sequence[VM],
    *,
    disk_only: bool = False,
    description: str = "",
    replace: bool = False,
    compress: bool = False,
    settled: bool = True,
    faults: Sequence[Mapping[str, Any]] = (),
) -> Snapshot:
    """Take a snapshot of machines. If it fails, all go on as before and nothing of it is kept.

    Args:
        disk_only: leave out the memory of those that run, which then only hold what they write for a moment.
        replace: let it take the place of another of the same name.
        compress: pack memory, when machines run again; a revert has to unpack it.
        settled: return when it is sure to survive a power failure; otherwise see `settle`.
        faults: what is broken on purpose now, as JSON has it; the snapshot keeps it.

    Raises:
        LagoError: the name is taken or can't be one.
        VMError: the state of a machine can't be saved.
        HypervisorError: libvirt refuses.
    """
    paths, index = env.paths, Index.load(env.paths)
    index.check_new(name, replace=replace)
    before = {vm: dict(tops) for vm, tops in index.tops.items()}
    todo = _plan(env, index, [vm for vm in vms if vm.provider is None], memory=not disk_only)
    elsewhere = {vm.name(): vm.provider for vm in vms if vm.provider is not None}
    tops = [top for one in todo for top in one.tops]
    index.busy = True
    layers.record(index, tops, layers.build(paths, index, tops))
    index.save(paths)
    instant = time.time()
    try:
        pause = _save(
            env, todo, [partial(one.create_snapshot, name) for one in elsewhere.values()], disk_only=disk_only
        )
        if settled:
            _consolidate(paths, todo)
        if compress:
            _compress(paths, todo)
    except BaseException:
        _undo(env, index, todo, before)
        raise
    taken = Snapshot(
        name=name,
        created=instant,
        vms={**{one.vm.name(): one.saved() for one in todo}, **{vm: Saved(disks={}) for vm in elsewhere}},
        parent=index.current if index.current != name else index.snapshots[name].parent,
        description=description,
        pause=round(pause, 3),
        faults=tuple(faults),
    )
    if settled:
        settle(paths, taken)
    _record(env, index, taken)
    return taken


def _plan(env: VirtEnv, index: Index, vms: Sequence[VM], *, memory: bool) -> list[Saving]:
    """Return what is to be written for each machine. Raises VMError if the state of one can't be saved."""
    running = [vm for vm in vms if vm.alive()]
    for vm in vms:
        checkpoint.check(vm, memory=memory and vm in running)
    live = {vm.name(): checkpoint.live_tops(vm) for vm in running}
    below = {
        (vm.name(), disk.name): layers.in_index(env.paths, live[vm.name()][disk.dev])
        for vm in running
        for disk in vm.spec.writable()
    }
    tops = layers.plan(index, [vm.spec for vm in vms], below)
    for place in (env.paths.snapshots(), env.paths.saved_consoles()):
        os.makedirs(place, 0o755, exist_ok=True)
    number = index.number()
    with_memory = running if memory else []
    prepared = dict(zip(with_memory, in_parallel(checkpoint.changes, with_memory, what="look at memory"), strict=True))

    def one(vm: VM) -> Saving:
        stem = f"snapshots/{number}.{vm.name()}"
        changed = prepared.get(vm, "")
        return Saving(
            vm=vm,
            running=vm in running,
            tops=tuple(top for top in tops if top.vm == vm.name()),
            memory=f"{stem}.mem" if vm in with_memory else None,
            state=f"{stem}.state" if vm in with_memory and checkpoint.splits(vm) else None,
            nvram=f"{stem}.nvram" if os.path.exists(env.paths.nvram(vm.name())) else None,
            console=_console(vm, number) if vm in with_memory and os.path.exists(vm.console_log()) else None,
            changed=None if isinstance(changed, str) else changed,
            whole=changed if isinstance(changed, str) else "",
        )

    return [one(vm) for vm in vms]


def _console(vm: VM, number: int) -> str:
    """The file for what a machine has said on its console."""
    return layers.in_index(vm.env.paths, vm.env.paths.saved_consoles(f"{number}.{vm.name()}.console.log"))


def _save(env: VirtEnv, todo: Sequence[Saving], elsewhere: Sequence[Callable[[], None]], *, disk_only: bool) -> float:
    """Save all machines, let them go on, and return the seconds for which those that run stood still.

    Args:
        elsewhere: saves machines that Lago does not run.
    """
    running = [one.vm for one in todo if one.running]
    ahead = [one for one in todo if one.memory and one.state and not one.changed]
    apart = {one.vm.name(): layers.full(env.paths, str(one.memory)) for one in ahead}
    with (
        task("Save machines"),
        checkpoint.saved_ahead([one.vm for one in ahead], apart, env.paths.snapshots()) as copies,
        _quiet(running) if disk_only else _paused(running) as standing,
    ):
        _write(env.paths, todo, elsewhere, copies)
    return standing[0]


def _write(
    paths: Paths, todo: Sequence[Saving], elsewhere: Sequence[Callable[[], None]], ahead: Mapping[str, Copy]
) -> None:
    """Write the state of machines that stand still, and let them write to their new images."""
    running = [one for one in todo if one.running]
    try:
        # Whoever may refuse, or be stopped by a full disk, comes first, when all is still as it was.
        in_parallel(lambda save: save(), elsewhere, what="save machines elsewhere")
        in_parallel(partial(_write_apart, paths, ahead), [one for one in running if one.state], what="save memory")
        in_parallel(partial(_write_rest, paths), running, what="save machines")
        for one in todo:
            if one.nvram:
                shutil.copyfile(paths.nvram(one.vm.name()), layers.full(paths, one.nvram))
            if one.console:
                shutil.copyfile(one.vm.console_log(), layers.full(paths, one.console))
    except BaseException:
        # While all stand still: QEMU pauses a guest that finds no room for what it writes.
        for copy in ahead.values():
            copy.close()
        layers.unlink(paths, [path for one in todo for path in one.files()])
        raise


def _write_apart(paths: Paths, ahead: Mapping[str, Copy], one: Saving) -> None:
    memory, state = layers.full(paths, str(one.memory)), layers.full(paths, str(one.state))
    if one.changed is not None:
        one.whole = checkpoint.save_changes(one.vm, one.changed, state)
        if not one.whole:
            return
        one.changed = None
    checkpoint.save_apart(one.vm, memory, state, ahead.get(one.vm.name()))


def _write_rest(paths: Paths, one: Saving) -> None:
    images = {top.disk.dev: layers.full(paths, top.path) for top in one.tops}
    memory = layers.full(paths, one.memory) if one.memory and not one.state else None
    checkpoint.save(one.vm, images, memory)


def _consolidate(paths: Paths, todo: Sequence[Saving]) -> None:
    """Let what machines changed take no more than it must, now that they go on."""

    def consolidate(one: Saving) -> None:
        names = (layers.full(paths, str(path)) for path in (one.base(), one.state, one.memory))
        if checkpoint.consolidate(*names):
            one.changed = None

    with task("Tidy memory up"):
        in_parallel(consolidate, [one for one in todo if one.state], what="tidy memory up")


def _compress(paths: Paths, todo: Sequence[Saving]) -> None:
    own = [one for one in todo if one.memory and one.changed is None]
    files = [str(one.memory) for one in own] + [one.state for one in todo if one.state]
    with task("Compress memory"):
        in_parallel(partial(saved_memory.pack, paths), files, what="compress memory")
    for one in own:
        one.memory = saved_memory.packed_name(str(one.memory))
    for one in todo:
        one.state = one.state and saved_memory.packed_name(one.state)


def _record(env: VirtEnv, index: Index, taken: Snapshot) -> None:
    """Record a snapshot in the index, in place of one of the same name; machines come from it now."""
    replaced = index.snapshots.pop(taken.name, None)
    index.snapshots[taken.name] = taken
    index.current, index.busy = taken.name, False
    index.save(env.paths)
    if replaced is not None:
        tidy(env, index)


def settle(paths: Paths, snapshot: Snapshot) -> None:
    """Return when the files of a snapshot, in this prefix, are sure to survive a power failure. Raises OSError."""
    written = [path for saved in snapshot.vms.values() for path in (saved.memory, saved.state, saved.nvram) if path]
    in_parallel(lambda path: sync(layers.full(paths, path)), written, what="write to disk")


@contextlib.contextmanager
def _paused(vms: Sequence[VM]) -> Iterator[list[float]]:
    """Context manager: machines stand still; yields a list that has the seconds at the end."""
    stood: list[VM] = []
    try:
        with _halting() as (seconds, go_on):
            for vm in vms:
                if checkpoint.pause(vm):
                    go_on.append(partial(checkpoint.resume, vm))
                    stood.append(vm)
            yield seconds
    finally:
        # Their clocks stood still as well.
        in_parallel(clock.put_right, stood, what="set clocks")


@contextlib.contextmanager
def _quiet(vms: Sequence[VM]) -> Iterator[list[float]]:
    """Context manager: guests hold what they write; yields a list that has the seconds at the end."""
    with _halting() as (seconds, go_on):
        in_parallel(lambda vm: go_on.append(partial(guests.unquiesce, vm, guests.quiesce(vm))), vms, what="quiesce")
        yield seconds


@contextlib.contextmanager
def _halting() -> Iterator[tuple[list[float], list[Callable[[], None]]]]:
    """Context manager: time is taken; yields a list with the seconds, at the end, and one for what ends the halt."""
    seconds: list[float] = []
    go_on: list[Callable[[], None]] = []
    began = time.monotonic()
    try:
        yield seconds, go_on
    except BaseException:
        try:
            in_parallel(lambda one: one(), go_on, what="go on")
        except LagoError as error:
            # What went wrong first is what the user must hear of.
            LOG.warning("%s", error.render())
        raise
    in_parallel(lambda one: one(), go_on, what="go on")
    seconds.append(time.monotonic() - began if go_on else 0.0)


def _undo(env: VirtEnv, index: Index, todo: Sequence[Saving], before: Mapping[str, Mapping[str, str]]) -> None:
    """Restore the tops that there were, except where a machine writes to the new one, which lies over the old one.

    Args:
        before: the tops that there were, by machine and disk.
    """
    # First, to have room for the index on a full disk.
    layers.unlink(env.paths, [path for one in todo for path in one.files()])
    try:
        live = [one.vm for one in todo if one.running and one.vm.alive()]
        written = {path for vm in live for path in checkpoint.live_tops(vm).values()}
    except LagoError as error:
        LOG.warning("%s", error.render())
        return
    tops = [top for one in todo for top in one.tops]
    unused = [top for top in tops if layers.full(env.paths, top.path) not in written]
    for top in unused:
        old = before.get(top.vm, {}).get(top.disk.name)
        if old is None:
            del index.tops[top.vm][top.disk.name]
        else:
            index.tops[top.vm][top.disk.name] = old
        del index.layers[top.path]
    index.busy = False
    index.save(env.paths)
    layers.unlink(env.paths, [top.path for top in unused])
