"""Removing a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..virt import checkpoint
from . import disks
from .book import Book

if TYPE_CHECKING:
    from ..virt import VirtEnv


def remove(env: VirtEnv, name: str) -> None:
    """Remove a snapshot with the files that nothing else needs; all others stay valid. Raises LagoError."""
    book = Book.load(env.paths)
    book.remove(name)
    book.save(env.paths)
    tidy(env, book)


def tidy(env: VirtEnv, book: Book) -> None:
    """Remove files that nothing needs; and shorten the chains of disks, if nothing runs."""
    vms = list(env.get_vms().values())
    running = [vm for vm in vms if env.live and vm.alive()]
    prefix = f"{env.paths.prefix()}/"
    in_use = {path.removeprefix(prefix) for vm in running for path in checkpoint.live_tops(vm).values()}
    disks.collect(env.paths, book, [vm.spec for vm in vms], in_use)
    if not running:
        disks.shorten(env.paths, book, [vm.spec for vm in vms])
