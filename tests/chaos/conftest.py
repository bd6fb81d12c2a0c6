"""What tests of chaos share: the seed, and worlds, of which a failure ends one."""

from __future__ import annotations

import os

import pytest

from ..vm.conftest import mini

__all__ = ["mini"]


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> str:
    """What all chance comes from: `LAGO_TEST_CHAOS`; else the same each time, or with `--slow` another one."""
    return os.environ.get("LAGO_TEST_CHAOS") or (os.urandom(3).hex() if pytestconfig.option.slow else "1")
