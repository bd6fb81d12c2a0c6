"""Layers of disks in a prefix: new tops, and the removal of what nothing needs any more."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from ...disks import qemu_img
from ...host.parallel import in_parallel
from ...paths import Paths
from ...topology.model import Disk, Domain
from .index import Index, Layer, domain_with_tops, format_of, part_of


class NewTop(NamedTuple):
    """An image that is to become the top of a disk; both paths as in the index."""

    vm: str
    disk: Disk
    path: str
    backing: str


def full(paths: Paths, path: str) -> str:
    """Path on this host of what the index calls `path`."""
    return os.path.join(paths.prefix(), path)


def in_index(paths: Paths, path: str) -> str:
    """Path as the index has it of a path on this host."""
    return os.path.relpath(path, paths.prefix()) if path.startswith(f"{paths.prefix()}/") else path


def plan(index: Index, domains: Iterable[Domain], below: Mapping[tuple[str, str], str]) -> list[NewTop]:
    """Plan new tops for all disks.

    Args:
        below: what each lies over, by machine and disk; those that are not there lie over the top that there is.
    """
    number = index.number()
    return [
        NewTop(
            vm=domain.name,
            disk=disk,
            path=f"images/{domain.name}_{disk.name}.{number}.qcow2",
            backing=below.get((domain.name, disk.name), disk.path),
        )
        for domain in domains
        for disk in domain.writable()
    ]


def build(paths: Paths, index: Index, tops: Iterable[NewTop]) -> dict[str, Layer]:
    """Make the images; what each lies over.

    Until somebody writes to it an image reads as what it lies over, so it does no harm if nothing else happens.
    """
    tops = list(tops)

    def one(top: NewTop) -> Layer:
        format = format_of(index, top.backing, top.disk)
        size = qemu_img.size_of(full(paths, top.backing), format)
        qemu_img.create_layer(full(paths, top.path), _named(paths, top.backing), format, size)
        return Layer(top.backing, format)

    try:
        return dict(zip([top.path for top in tops], in_parallel(one, tops, what="create disk layers"), strict=True))
    except BaseException:
        unlink(paths, [top.path for top in tops])
        raise


def _named(paths: Paths, path: str) -> str:
    """Name by which an image calls one below it: relative to itself, so that a moved prefix and forks find it."""
    return path if os.path.isabs(path) else os.path.relpath(full(paths, path), paths.images())


def record(index: Index, tops: Iterable[NewTop], layers: Mapping[str, Layer]) -> None:
    """Record images that were built as the tops in the index."""
    for top in tops:
        index.layers[top.path] = layers[top.path]
        index.tops.setdefault(top.vm, {})[top.disk.name] = top.path


def unlink(paths: Paths, files: Iterable[str]) -> None:
    """Remove files that nobody uses."""
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(full(paths, file))


def prune(paths: Paths, index: Index, domains: Iterable[Domain], in_use: Iterable[str] = ()) -> None:
    """Remove the files that no machine and no snapshot needs, and forget them.

    Args:
        domains: all machines.
        in_use: images and memory that machines run on, whatever the index says.
    """
    domains = list(domains)
    needed = index.needed([*tops_of(index, domains), *in_use])
    for path in [path for path in index.layers if path not in needed]:
        del index.layers[path]
    candidates = [f"images/{name}" for name in os.listdir(paths.images()) if _is_layer(name, domains)]
    for place in (paths.snapshots(), paths.saved_consoles()):
        if os.path.isdir(place):
            candidates += [os.path.relpath(os.path.join(place, name), paths.prefix()) for name in os.listdir(place)]
    # First, to have room for the index on a full disk; what it says is needed stays.
    unlink(paths, [path for path in candidates if part_of(path) not in needed])
    index.save(paths)


def tops_of(index: Index, domains: Iterable[Domain]) -> set[str]:
    """The images that disks are written to."""
    return {disk.path for domain in domains for disk in domain_with_tops(domain, index).disks}


def _is_layer(name: str, domains: Iterable[Domain]) -> bool:
    """Whether a file in the directory of images is one of a disk, be it its first or a later layer, or half of one."""
    stems = [f"{domain.name}_{disk.name}." for domain in domains for disk in domain.writable()]
    if name.startswith("."):
        # What `utils.beside` named, and a killed Lago left.
        return name.startswith(tuple(f".{stem}" for stem in stems))
    return any(name.startswith(stem) and name.endswith((".qcow2", ".raw")) for stem in stems)


_LONG: Final = 8
"""Layers that a disk may have which nobody needs but those over them, as long as another prefix shares some."""


class Merge(NamedTuple):
    """Layers that only the image over them needs, and what that lies over when they are gone."""

    path: str
    lower: tuple[str, ...]
    below: Layer


def merges(paths: Paths, index: Index, tops: Iterable[str]) -> list[Merge]:
    """What can be merged so that chains of disks stay short.

    A file that another prefix shares, as forks do, is left as it is. To merge it into another would free nothing, and
    might copy much, so that is only done when there are many.
    """
    frozen = {path for one in index.snapshots.values() for vm in one.vms.values() for path in vm.disks.values()}
    kept = frozen | set(tops)
    backings = [layer.backing for layer in index.layers.values()]
    found = []
    for path, layer in index.layers.items():
        lower: list[str] = []
        while layer.backing in index.layers and layer.backing not in kept and backings.count(layer.backing) == 1:
            lower.append(layer.backing)
            layer = index.layers[layer.backing]
        shared = [at for at, one in enumerate(lower) if _shared(paths, one)]
        if shared and len(lower) < _LONG:
            lower = lower[: shared[0]]
            layer = index.layers[[path, *lower][-1]]
        if lower and path in kept and not _shared(paths, path):
            found.append(Merge(path, tuple(lower), layer))
    return found


def _shared(paths: Paths, path: str) -> bool:
    return os.stat(full(paths, path)).st_nlink > 1


def merge(paths: Paths, index: Index, one: Merge) -> None:
    """Merge layers of a disk that nobody uses now."""
    qemu_img.rebase(full(paths, one.path), _named(paths, one.below.backing), one.below.format)
    record_merge(paths, index, one)


def record_merge(paths: Paths, index: Index, one: Merge) -> None:
    """Record in the index that layers were merged, and remove them."""
    index.layers[one.path] = one.below
    for path in one.lower:
        del index.layers[path]
    index.save(paths)
    unlink(paths, one.lower)
