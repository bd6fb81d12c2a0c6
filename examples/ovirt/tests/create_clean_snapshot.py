"""The snapshot that other tests begin with. To be run after bootstrap.py."""

from __future__ import annotations

import lab

from ovirtlago import OvirtPrefix


def test_the_environment_is_held_at_rest(ovirt_prefix: OvirtPrefix) -> None:
    ovirt_prefix.create_snapshots(lab.CLEAN, restore=False)
