"""What tests with libvirt's own driver share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def own_runtime_dir(runtime_dir: object) -> None:
    """Sockets of the environments here, which are no prefixes that could be destroyed, are the test's own."""
