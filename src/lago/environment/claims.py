"""What a prefix holds that others could use: subnets of a shared libvirt, and images of a template store.

Each is held under the name of the prefix's file `uuid`. A claim names the place of its prefix, which may be moved.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..constants import PRIVATE
from ..host import trust
from ..paths import Paths
from . import facts

if TYPE_CHECKING:
    from ..topology.address import Address
    from ..topology.model import Topology
    from ..topology.spec import EnvSpec


class Claims:
    """What the prefix at `paths` holds; its `metadata` says where."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def _shared(self) -> bool:
        return bool(facts.load(self._paths).get("libvirt_url", PRIVATE) != PRIVATE)

    def _store(self) -> str | None:
        """The path of the template store."""
        return facts.load(self._paths).get("template_store")

    def lease(self, wanted: EnvSpec, busy: Iterable[str]) -> dict[str, Address]:
        """Lease a subnet for each net that needs one, and return them by net.

        Args:
            busy: subnets that libvirt has already.

        Raises:
            LagoError: no subnet is free, or one that is asked for is taken.
        """
        from ..subnet_lease import default_store

        leases, avoid = default_store(), set(busy)
        # What is asked for goes first, or another net of ours might get it.
        nets = sorted((net for net in wanted.nets.values() if net.type != "bridge"), key=lambda net: net.gw is None)
        return {net.name: leases.acquire(self._paths.uuid(), net.gw, avoid=avoid) for net in nets}

    def hold_leases(self, topology: Topology) -> None:
        """Lease again what is leased, from the place where the prefix is now."""
        if not self._shared():
            return
        from ..subnet_lease import default_store

        for net in topology.nets.values():
            if net.gw is not None:
                default_store().acquire(self._paths.uuid(), net.gw)

    def hold_images(self, topology: Topology, home: str) -> None:
        """Tell the template store which of its images disks are made of.

        Args:
            home: where the prefix is, or will be.
        """
        if not (root := self._store()):
            return
        from ..templates import TemplateStore

        store = TemplateStore(root)
        found = [
            (disk.template.path, disk.template.format)
            if disk.template
            else (os.path.join(self._paths.prefix(), disk.path), disk.format)
            for domain in topology.domains.values()
            for disk in domain.disks
            if disk.type == "template" or (disk.type == "file" and disk.format == "qcow2")
        ]
        images = [identity for one in dict.fromkeys(found) if (identity := store.beneath(*one))]
        store.users.register(self._paths.uuid(), images, home, replace=True)

    def renew(self, topology: Topology) -> None:
        """Record where the prefix is now, in case it was moved."""
        from ..templates.references import Users

        self.hold_leases(topology)
        root, here = self._store(), self._paths.prefix()
        if root and Users(root).place(trust.read_uuid(self._paths.uuid())) != here:
            self.hold_images(topology, here)

    def release(self) -> None:
        """Release all that the prefix holds; what is no prefix yet holds nothing."""
        if not os.path.exists(self._paths.uuid()):
            return
        if self._shared():
            from ..subnet_lease import default_store

            default_store().release_all(self._paths.uuid())
        if root := self._store():
            from ..templates.references import Users

            Users(root).unregister(trust.read_uuid(self._paths.uuid()))
