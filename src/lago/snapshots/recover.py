"""What is to do when an operation on snapshots was killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libvirt

from ..log import LOG
from ..virt import checkpoint
from . import disks
from .book import Book

if TYPE_CHECKING:
    from ..virt import VirtEnv


def recover(env: VirtEnv) -> None:
    """Let machines go on that stand still because Lago was killed meanwhile, and remove files that it left."""
    book = Book.load(env.paths)
    if not book.busy:
        return
    in_use: set[str] = set()
    if env.live:
        for vm in env.get_vms().values():
            if not vm.alive():
                continue
            if vm.libvirt_state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                LOG.warning("%s stood still since Lago was killed, and goes on", vm.name())
                checkpoint.resume(vm)
            in_use |= {path.removeprefix(f"{env.paths.prefix()}/") for path in checkpoint.live_tops(vm).values()}
    book.busy = False
    disks.collect(env.paths, book, [vm.spec for vm in env.get_vms().values()], in_use)
