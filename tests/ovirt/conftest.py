"""What tests of ovirtlago share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lago.host import waiting

from ..unit.conftest import as_before, lago
from . import pki
from .loopback import FQDN, StandIn, stand_in
from .packages import Maker

__all__ = ["as_before", "lago"]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with certificates for the stand-in."""
    made = tmp_path_factory.mktemp("pki")
    pki.make(made, FQDN)
    return made


@pytest.fixture
def engine(certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """The stand-in for an engine, in this process; it is asked again sooner than one that has work to do."""
    monkeypatch.setattr(waiting, "_FIRST_PACE", 0.05)
    monkeypatch.setattr(waiting, "_PACE", 0.2)
    monkeypatch.setenv("LAGO__OVIRT__SHORT_TIMEOUT", "60")
    monkeypatch.setenv("LAGO__OVIRT__LONG_TIMEOUT", "60")
    with stand_in(tmp_path, certificates) as made:
        yield made


@pytest.fixture
def impatient(engine: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not happen is waited for a second only."""
    monkeypatch.setenv("LAGO__OVIRT__SHORT_TIMEOUT", "1")
    monkeypatch.setenv("LAGO__OVIRT__LONG_TIMEOUT", "1")


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """Makes packages."""
    return Maker(tmp_path_factory.mktemp("rpms"))
