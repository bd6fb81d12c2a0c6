"""What machines have of this host's files, besides the prefix's own, where a private hypervisor shows no others."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator

from ..disks import image_header
from ..host import shape, trust
from ..host.files import json_text, write_atomically
from ..hypervisor.protocol import Passed
from ..paths import Paths
from ..topology.model import Domain

_NOTE = shape.listing(shape.text())
_KERNELS = ("kernel", "kernel-efi", "initrd")


def files(domains: Iterable[Domain], paths: Paths) -> list[Passed]:
    """What machines are to have.

    Raises:
        HypervisorError: a file of the prefix belongs to somebody who is not trusted.
        OSError: the prefix can't be written to.
    """
    found: dict[str, bool] = {}
    domains = list(domains)
    for path in _below(domains, paths):
        found.setdefault(path, False)
    for domain in domains:
        for name in _KERNELS:
            if name in domain.image:
                found.setdefault(os.path.join(paths.prefix(), str(domain.image[name])), False)
        for disk in domain.disks:
            if disk.template is not None:
                found.setdefault(disk.template.path, False)
            if os.path.isabs(disk.path):
                found[disk.path] = found.get(disk.path, False) or disk.format != "iso"
        for share in domain.shares:
            found[share.path] = True
    return [Passed(path, writable) for path, writable in found.items()]


def _below(domains: Iterable[Domain], paths: Paths) -> list[str]:
    """Images elsewhere that images of the machines lie over.

    Guests write to images, and one that broke out of QEMU may write there what it wants to see. So they are asked once,
    before the first start, and what they said is kept.
    """
    with contextlib.suppress(FileNotFoundError, ValueError):
        return _NOTE(shape.parse(trust.read(paths.backing())))
    found: dict[str, None] = {}
    for path in _images(domains, paths):
        for image in _chain(path):
            if not image.startswith(os.path.join(paths.prefix(), "")):
                found[image] = None
    write_atomically(paths.backing(), json_text(sorted(found)))
    return sorted(found)


def _images(domains: Iterable[Domain], paths: Paths) -> Iterator[str]:
    """Images that may lie over others. One without a format may begin with whatever its guest wrote."""
    disks = [disk for domain in domains for disk in domain.disks]
    raw = {os.path.join(paths.prefix(), disk.path) for disk in disks if disk.image_format == "raw"}
    with contextlib.suppress(FileNotFoundError):
        yield from {os.path.join(paths.images(), name) for name in os.listdir(paths.images())} - raw
    yield from {disk.path for disk in disks if os.path.isabs(disk.path)} - raw
    yield from {disk.template.path for disk in disks if disk.template is not None and disk.template.format != "raw"}


def _chain(path: str) -> Iterator[str]:
    seen: set[str] = set()
    while path not in seen and os.path.isfile(path):
        seen.add(path)
        try:
            below = image_header.read(path).backing
        except (OSError, ValueError):
            return
        if not below:
            return
        path = os.path.normpath(os.path.join(os.path.dirname(path), below))
        yield path
