"""Removing a snapshot, and what nothing needs any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...host.parallel import in_parallel
from ...virt import checkpoint
from . import layers
from .index import Book

if TYPE_CHECKING:
    from ...virt import VM, VirtEnv


def remove(env: VirtEnv, name: str) -> None:
    """Remove a snapshot with the files that nothing else needs; all others stay valid. Raises LagoError."""
    book = Book.load(env.paths)
    book.remove(name)
    book.save(env.paths)
    tidy(env, book)


def tidy(env: VirtEnv, book: Book) -> None:
    """Remove files that nothing needs, and merge layers that only one other needs."""
    paths = env.paths
    domains = [vm.spec for vm in env.get_vms().values()]
    live = live_layers(env)
    layers.prune(paths, book, domains, live)
    used = {path for top in live for path in book.chain(top)}
    found = layers.merges(paths, book, layers.tops_of(book, domains))
    for one in [one for one in found if one.path not in used]:
        layers.merge(paths, book, one)

    def pull(one: layers.Merge) -> layers.Merge:
        vm, dev = live[one.path]
        checkpoint.pull(vm, dev, layers.full(paths, one.below.backing))
        return one

    for one in in_parallel(pull, [one for one in found if one.path in live], what="merge layers"):
        layers.record_merge(paths, book, one)


def live_layers(env: VirtEnv) -> dict[str, tuple[VM, str]]:
    """The images that running machines write to, with machine and device."""
    ours = [vm for vm in env.get_vms().values() if vm.provider is None]
    running = [vm for vm in ours if env.live and vm.alive()]
    return {
        layers.in_book(env.paths, path): (vm, dev) for vm in running for dev, path in checkpoint.live_tops(vm).items()
    }
