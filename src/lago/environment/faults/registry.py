"""All kinds of faults, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from . import of_network
from .model import Kind

KINDS: Final[Mapping[str, Kind]] = {one.name: one for one in (*of_network.KINDS,)}
"""In the order in which they are listed."""
