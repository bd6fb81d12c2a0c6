"""The topology of a prefix with the images that its machines write to now."""

from __future__ import annotations

from dataclasses import replace

from ..topology import Domain, Topology
from .book import Book


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
        replace(disk, path=tops[disk.name], format="qcow2") if disk.name in tops else disk for disk in domain.disks
    )
    return replace(domain, disks=disks)
