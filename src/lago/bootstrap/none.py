"""A machine that is left as its disk is."""

from __future__ import annotations

from ..paths import Paths
from ..topology.model import Domain
from .additions import Additions


def prepare(_domain: Domain, _paths: Paths, _public_key: str) -> None:
    """Do nothing."""


def additions(_domain: Domain, _paths: Paths, _public_key: str) -> Additions:
    """No additions."""
    return Additions()
