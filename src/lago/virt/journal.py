"""What systemd guests say of their errors: a console that ends with a login prompt has nothing of them."""

from __future__ import annotations

from typing import Final

from ..errors import LagoError
from ..log import LOG
from .inside import as_root
from .machine import Machine

_PATIENCE: Final = 10.0
"""Seconds that the journal may take, times 5 when emulated."""

_LOOK: Final = 'exec journalctl --boot --priority=err --lines="$1" --no-pager --quiet --output=short-precise'


def last_errors(machine: Machine, lines: int) -> str | None:
    """The last errors in a machine's journal since it booted, empty if there are none.

    None of a guest that has no journal, or where that can't be had at once: it is not waited for.

    Args:
        lines: how many at most.
    """
    try:
        if not machine.running() or not machine.guest.connected():
            return None
        return as_root(machine, _LOOK, str(lines), what="its journal can't be read", patience=_PATIENCE).strip()
    except (LagoError, OSError) as error:
        LOG.debug("the journal of %s can't be read: %s", machine.name(), error)
        return None
