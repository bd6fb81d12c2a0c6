"""Taking a snapshot: all machines stand still, are saved at one instant, and go on."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from ...constants import SNAPSHOT_VERBS
from ...errors import LagoError
from ...host.files import sync
from ...host.parallel import in_parallel
from ...log import LOG, task
from . import layers
from . import memory as saved_memory
from .index import Book, Saved, Snapshot
from .layers import NewTop
from .remove import tidy

if TYPE_CHECKING:
    from ...paths import Paths
    from ...virt import VM, VirtEnv

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


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
) -> Snapshot:
    """Take a snapshot of machines. If it fails, all go on as before and nothing of it is kept.

    Args:
        disk_only: leave out the memory of those that run, which then only hold what they write for a moment.
        replace: let it take the place of another of the same name.
        compress: pack memory, when machines run again; a revert has to unpack it.
        settled: return when it is sure to survive a power failure; otherwise see `settle`.

    Raises:
        LagoError: the name is taken or can't be one.
        VMError: the state of a machine can't be saved.
        HypervisorError: libvirt refuses.
    """
    from ...virt import checkpoint
    from . import guests

    paths, book = env.paths, Book.load(env.paths)
    if not _NAME.fullmatch(name):
        raise LagoError(f"{name!r} can't be the name of a snapshot", hint="use letters, digits, and . _ + - inside")
    if name in SNAPSHOT_VERBS:
        raise LagoError(
            f"{name} can't be the name of a snapshot, `lago snapshot {name}` means something else",
            hint="choose another name",
        )
    if name in book.snapshots and not replace:
        raise LagoError(f"there is a snapshot {name} already", hint="choose another name, or --replace it")
    ours = [vm for vm in vms if vm.provider is None]
    provided = [vm.provider for vm in vms if vm.provider is not None]
    running = [vm for vm in ours if vm.alive()]
    for vm in ours:
        checkpoint.check(vm, memory=vm in running and not disk_only)
    live = {vm.name(): checkpoint.live_tops(vm) for vm in running}
    below = {
        (vm.name(), disk.name): layers.in_book(paths, live[vm.name()][disk.dev])
        for vm in running
        for disk in vm.spec.writable()
    }
    tops = layers.plan(book, [vm.spec for vm in ours], below)
    os.makedirs(paths.snapshots(), 0o755, exist_ok=True)
    number = book.number()
    memory = {vm.name(): f"snapshots/{number}.{vm.name()}.mem" for vm in running if not disk_only}
    state = {vm.name(): f"snapshots/{number}.{vm.name()}.state" for vm in running if memory and checkpoint.splits(vm)}
    firmware = [vm for vm in ours if os.path.exists(paths.nvram(vm.name()))]
    nvram = {vm.name(): f"snapshots/{number}.{vm.name()}.nvram" for vm in firmware}
    before = {vm: dict(disks_) for vm, disks_ in book.tops.items()}
    book.busy = True
    layers.enter(book, tops, layers.build(paths, book, tops))
    book.save(paths)
    instant = time.time()
    try:
        with task("Save machines"):
            elsewhere = [partial(provider.create_snapshot, name) for provider in provided]
            pause = _save(env, running, elsewhere, tops, memory, state, nvram, disk_only=disk_only)
            if pause and not disk_only:
                in_parallel(guests.set_clock, running, what="set clocks")
        if compress:
            with task("Compress memory"):
                in_parallel(partial(saved_memory.pack, paths), memory.values(), what="compress memory")
            memory = {vm: saved_memory.packed(path) for vm, path in memory.items()}
    except BaseException:
        _undo(env, book, running, tops, before, [*memory.values(), *state.values(), *nvram.values()])
        raise
    taken = Snapshot(
        name=name,
        created=instant,
        vms={
            vm.name(): Saved(
                disks={top.disk.name: top.backing for top in tops if top.vm == vm.name()},
                memory=memory.get(vm.name()),
                nvram=nvram.get(vm.name()),
                state=state.get(vm.name()),
            )
            for vm in vms
        },
        parent=book.current if book.current != name else book.snapshots[name].parent,
        description=description,
        pause=round(pause, 3),
    )
    if settled:
        settle(paths, taken)
    replaced = book.snapshots.pop(name, None)
    book.snapshots[name] = taken
    book.current, book.busy = name, False
    book.save(paths)
    if replaced is not None:
        tidy(env, book)
    return taken


def settle(paths: Paths, snapshot: Snapshot) -> None:
    """Return when the files of a snapshot, in this prefix, are sure to survive a power failure. Raises OSError."""
    written = [path for saved in snapshot.vms.values() for path in (saved.memory, saved.state, saved.nvram) if path]
    in_parallel(lambda path: sync(layers.full(paths, path)), written, what="write to disk")


def _save(
    env: VirtEnv,
    running: Sequence[VM],
    elsewhere: Sequence[Callable[[], None]],
    tops: Sequence[NewTop],
    memory: Mapping[str, str],
    state: Mapping[str, str],
    nvram: Mapping[str, str],
    *,
    disk_only: bool,
) -> float:
    """Save what runs; the seconds for which it stood still.

    Args:
        elsewhere: saves machines that Lago does not run.
    """
    from ...virt import checkpoint

    def save_apart(vm: VM) -> None:
        checkpoint.save_apart(vm, files[vm.name()], layers.full(env.paths, state[vm.name()]))

    def save(vm: VM) -> None:
        images = {top.disk.dev: layers.full(env.paths, top.path) for top in tops if top.vm == vm.name()}
        file = None if vm.name() in state else memory.get(vm.name())
        checkpoint.save(vm, images, layers.full(env.paths, file) if file else None)

    apart = [vm for vm in running if vm.name() in state]
    files = {vm.name(): layers.full(env.paths, memory[vm.name()]) for vm in apart}
    checkpoint.save_ahead(apart, files, env.paths.snapshots())
    with _quiet(running) if disk_only else _paused(running) as standing:
        try:
            # Whoever may refuse, or be stopped by a full disk, comes first, when all is still as it was.
            in_parallel(lambda save: save(), elsewhere, what="save machines elsewhere")
            in_parallel(save_apart, apart, what="save memory")
            in_parallel(save, running, what="save machines")
            for vm, path in nvram.items():
                shutil.copyfile(env.paths.nvram(vm), layers.full(env.paths, path))
        except BaseException:
            # While all stand still: QEMU pauses a guest that finds no room for what it writes.
            layers.drop(env.paths, [*memory.values(), *state.values(), *nvram.values()])
            raise
    return standing[0]


@contextlib.contextmanager
def _paused(vms: Sequence[VM]) -> Iterator[list[float]]:
    """Let machines stand still; the list has the seconds at the end."""
    from ...virt import checkpoint

    with _halting() as (seconds, go_on):
        for vm in vms:
            if checkpoint.pause(vm):
                go_on.append(partial(checkpoint.resume, vm))
        yield seconds


@contextlib.contextmanager
def _quiet(vms: Sequence[VM]) -> Iterator[list[float]]:
    """Let guests hold what they write; the list has the seconds at the end."""
    from . import guests

    with _halting() as (seconds, go_on):
        in_parallel(lambda vm: go_on.append(partial(guests.unquiesce, vm, guests.quiesce(vm))), vms, what="quiesce")
        yield seconds


@contextlib.contextmanager
def _halting() -> Iterator[tuple[list[float], list[Callable[[], None]]]]:
    """The seconds that the context takes, which are there at its end, and a list for what lets machines go on then."""
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


def _undo(
    env: VirtEnv,
    book: Book,
    running: Sequence[VM],
    tops: Sequence[NewTop],
    before: dict[str, dict[str, str]],
    memory: Sequence[str],
) -> None:
    """Let tops be what they were, but for machines that write to the new ones already: those lie over the old ones."""
    from ...virt import checkpoint

    # First, to have room for the book on a full disk.
    layers.drop(env.paths, memory)
    try:
        written = {path for vm in running if vm.alive() for path in checkpoint.live_tops(vm).values()}
    except LagoError as error:
        LOG.warning("%s", error.render())
        return
    unused = [top for top in tops if layers.full(env.paths, top.path) not in written]
    for top in unused:
        old = before.get(top.vm, {}).get(top.disk.name)
        if old is None:
            del book.tops[top.vm][top.disk.name]
        else:
            book.tops[top.vm][top.disk.name] = old
        del book.layers[top.path]
    book.busy = False
    book.save(env.paths)
    layers.drop(env.paths, [top.path for top in unused])
