"""The topology of a prefix with the images that its machines write to now."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from ..environment.snapshots.index import Book
from ..topology.resolve import Disk, Domain, Topology


def with_tops(topology: Topology, book: Book) -> Topology:
    """The topology with the tops of the book in place of the images that the environment began with."""
    if not book.tops:
        return topology
    domains = {name: domain_with_tops(domain, book) for name, domain in topology.domains.items()}
    return replace(topology, domains=domains)


def domain_with_tops(domain: Domain, book: Book) -> Domain:
    """A machine with the tops of the book."""
    tops = book.tops.get(domain.name, {})
    disks = tuple(
        replace(disk, path=top, format=format_of(book, top, disk)) if (top := tops.get(disk.name)) else disk
        for disk in domain.disks
    )
    return replace(domain, disks=disks)


def format_of(book: Book, path: str, disk: Disk) -> Literal["qcow2", "raw", "iso"]:
    """The format of an image of a disk. It is not looked for in the image, which the guest has written.

    Args:
        disk: as the environment began with it, or with its top.
    """
    if path in book.layers:
        return "qcow2"
    # It is the image that the disk began with. Where there are layers, the disk's own format is that of its top.
    recorded = {layer.format for layer in book.layers.values() if layer.backing == path}
    return "raw" if recorded == {"raw"} else "qcow2" if recorded else disk.format
