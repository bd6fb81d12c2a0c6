"""Names, and what the tests of this directory have in common."""

from __future__ import annotations

from typing import Any

from ovirtlago import testlib

DATA_CENTER = "test-dc"
CLUSTER = "test-cluster"
MASTER = "nfs"
CLEAN = "ovirt-clean"
"""The snapshot that tests begin with."""

STORAGE = "storage"
"""The machine that exports storage; what, say its deploy scripts."""
SHARE, ISO_SHARE = "/exports/share1", "/exports/iso"
TARGET = "iqn.2014-07.org.ovirt:storage"

GIB = 1 << 30


def named(collection: Any, name: str) -> Any:
    """What has a name in a collection of the engine. Raises LookupError."""
    found = {one.name: one for one in collection.list()}
    if name not in found:
        raise LookupError(f"the engine has no {name}, only: {', '.join(found) or 'nothing'}")
    return found[name]


def becomes(service: Any, status: Any, timeout: float = testlib.LONG_TIMEOUT) -> None:
    """See that what a service is about gets a status within some seconds; a refusal of the engine is raised."""
    testlib.assert_equals_within(lambda: service.get().status, status, timeout, allowed_exceptions=[])


def gone(collection: Any, number: str) -> None:
    """See that something leaves a collection."""
    testlib.assert_true_within_long(lambda: all(one.id != number for one in collection.list()))
