"""Fixtures of the tests of this directory."""

from __future__ import annotations

from typing import Any

import lab
import pytest

from ovirtlago import OvirtPrefix


@pytest.fixture
def engine(ovirt_api: Any) -> Any:
    """All services of the engine."""
    return ovirt_api.system_service()


@pytest.fixture(scope="module")
def clean(ovirt_prefix: OvirtPrefix) -> None:
    """The environment is as it was when the clean snapshot was taken."""
    ovirt_prefix.revert_snapshots(lab.CLEAN)
