"""What a prefix holds that others could use: subnets of a shared libvirt, and images of a template store.

Each is held under the name of the prefix's file `uuid`. A holding names the place of its prefix, which may be moved.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ..constants import PRIVATE
from ..paths import Paths

if TYPE_CHECKING:
    from ..topology.model import Topology
    from ..topology.spec import EnvSpec


def lease(wanted: EnvSpec, paths: Paths, busy: Iterable[str]) -> dict[str, str]:
    """A subnet for each net that needs one.

    Args:
        busy: subnets that libvirt has already.
    """
    from ..subnet_lease import default_store

    leases, avoid = default_store(), set(busy)
    # What is asked for goes first, or another net of ours might get it.
    nets = sorted((net for net in wanted.nets.values() if net.type != "bridge"), key=lambda net: net.gw is None)
    return {net.name: leases.acquire(paths.uuid(), net.gw, avoid=avoid) for net in nets}


def hold_leases(topology: Topology, paths: Paths) -> None:
    """Lease again what is leased, in case the prefix was moved."""
    from ..subnet_lease import default_store

    for net in topology.nets.values():
        if net.gw is not None:
            default_store().acquire(paths.uuid(), net.gw)


def hold_images(root: str, topology: Topology, paths: Paths, home: str, uuid_path: str | None = None) -> None:
    """Tell a template store which of its images disks are made of.

    Args:
        root: path of the store.
        home: where the prefix is, or will be.
        uuid_path: the file `uuid` of another prefix, whose disks are made of the same.
    """
    from ..templates import TemplateStore

    store = TemplateStore(root)
    found = [
        (disk.template.path, disk.template.format)
        if disk.template
        else (os.path.join(paths.prefix(), disk.path), disk.format)
        for domain in topology.domains.values()
        for disk in domain.disks
        if disk.type == "template" or (disk.type == "file" and disk.format == "qcow2")
    ]
    images = [identity for one in dict.fromkeys(found) if (identity := store.beneath(*one))]
    store.users.hold(uuid_path or paths.uuid(), images, home, replace=True)


def held_elsewhere(root: str, uuid: str, prefix: str) -> bool:
    """Whether a template store has not heard yet that a prefix is at the path `prefix` now."""
    from ..templates.references import Users

    return Users(root).place(uuid) != prefix


def release(paths: Paths, metadata: Mapping[str, str], uuid: str) -> None:
    """Give everything back."""
    if metadata.get("libvirt_url", PRIVATE) != PRIVATE:
        from ..subnet_lease import default_store

        default_store().release_all(paths.uuid())
    if root := metadata.get("template_store"):
        from ..templates.references import Users

        Users(root).forget(uuid)
