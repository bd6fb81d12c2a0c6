"""Faults as JSON has them, in their file and in that of snapshots; and the names of kinds that others know."""

from __future__ import annotations

from typing import Any, Final

from ...host import shape

POWER: Final = "power-cut"
FREEZE: Final = "freeze"
PANIC: Final = "panic"
RESET: Final = "reset"
DISK: Final = "disk"
CLOCK: Final = "clock"
CPU: Final = "cpu"
MEMORY: Final = "memory"

_TEXT: Final = shape.text()


def _as_it_is(raw: Any) -> Any:
    """A setting, which its kind alone knows."""
    return raw


MEMBERS: Final = {
    "kind": _TEXT,
    "targets": shape.listing(_TEXT),
    "settings": shape.mapping(_TEXT, _as_it_is),
    "id": _TEXT,
    "since": shape.number,
    "means": _TEXT,
}
"""What reads each member of a fault."""
