"""Forks: copies of an environment that go on from one of its snapshots, on their own."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

from ...disks import qemu_img
from ...virt import checkpoint
from . import layers as disk_layers
from . import memory as saved_memory
from .index import Index, Saved, Snapshot, parts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...paths import Paths
    from ...topology.model import Domain

_COPIED = ("id_rsa", "id_rsa.pub", "scripts")


def fork(source: Paths, name: str, dest: Paths, domains: Iterable[Domain]) -> None:
    """Fill the directory of a new prefix with what it needs to go back to a snapshot of another.

    Images and memory are shared with it as long as nobody changes them, and stay when it is destroyed. What its disks
    write to is its own from the first, whether it goes back to the snapshot or is started.

    Args:
        source: the other prefix, whose lock is held.
        name: of its snapshot.
        domains: its machines.

    Raises:
        LagoError: there is no such snapshot.
    """
    index = Index.load(source)
    snapshot = _with_consoles_that_are_there(source, index.get(name))
    forked = Index()
    forked.snapshots = {name: snapshot._replace(parent=None)}
    forked.current = name
    forked.tops = {vm: dict(saved.disks) for vm, saved in snapshot.vms.items()}
    forked.layers = index.layers
    needed = forked.needed(())
    forked.layers = {path: layer for path, layer in index.layers.items() if path in needed}
    forked._serial = index._serial
    for directory in (dest.images(), dest.logs(), dest.snapshots(), dest.saved_consoles()):
        os.makedirs(directory, 0o755, exist_ok=True)
    for entry in _COPIED:
        path = os.path.join(source.prefix(), entry)
        if os.path.isdir(path):
            shutil.copytree(path, os.path.join(dest.prefix(), entry))
        elif os.path.exists(path):
            shutil.copy2(path, os.path.join(dest.prefix(), entry))
    os.makedirs(dest.virt(), 0o700, exist_ok=True)
    for entry in os.listdir(source.virt()):
        if entry in ("env", "backing") or entry.startswith(("net-", "vm-")):
            shutil.copy2(source.virt(entry), dest.virt(entry))
    seeds = {f"images/{entry}" for entry in os.listdir(source.images()) if entry.endswith((".iso", ".fd"))}
    _prepare(source, snapshot)
    copies = {path for saved in snapshot.vms.values() if saved.memory for path in parts(source, saved.memory)}
    for path in needed | seeds | copies:
        if not os.path.isabs(path):
            _share(os.path.join(source.prefix(), path), os.path.join(dest.prefix(), path))
    for vm, saved in snapshot.vms.items():
        if saved.console:
            # No link: the log goes on.
            shutil.copyfile(os.path.join(source.prefix(), saved.console), dest.console_log(vm))
    below = {(vm, disk): path for vm, saved in snapshot.vms.items() for disk, path in saved.disks.items()}
    tops = disk_layers.plan(forked, [domain for domain in domains if domain.name in snapshot.vms], below)
    # Only the index of the source knows the formats of all images.
    disk_layers.record(forked, tops, disk_layers.build(dest, index, tops))
    forked.save(dest)


def _with_consoles_that_are_there(source: Paths, snapshot: Snapshot) -> Snapshot:
    """A snapshot without the logs that somebody has removed."""

    def there(saved: Saved) -> bool:
        return saved.console is not None and os.path.exists(os.path.join(source.prefix(), saved.console))

    return snapshot._replace(
        vms={vm: saved if there(saved) else saved._replace(console=None) for vm, saved in snapshot.vms.items()}
    )


def _prepare(source: Paths, snapshot: Snapshot) -> None:
    """Make what machines map beside their memory once, so that forks have links to it and need no copy each."""
    for saved in snapshot.vms.values():
        if saved.memory and saved.state and not saved_memory.is_packed(saved.state):
            memory, state = (os.path.join(source.prefix(), path) for path in (saved.memory, saved.state))
            with contextlib.suppress(OSError):
                checkpoint.prepare(memory, state)


def _share(source: str, dest: str) -> None:
    """Link a file to a second place; copy it where the file system can't."""
    with contextlib.suppress(OSError):
        os.link(source, dest)
        return
    qemu_img.copy(source, dest)
