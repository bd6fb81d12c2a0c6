"""All kinds of faults, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from . import of_machines, of_network
from .model import Kind

KINDS: Final[Mapping[str, Kind]] = {one.name: one for one in (*of_network.KINDS, *of_machines.KINDS)}
"""In the order in which they are listed."""
