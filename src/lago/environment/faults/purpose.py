"""What faults mean for whoever does something else to a machine: its clock, and whether it runs and answers."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ...virt.on_purpose import NOTHING, Clock, OnPurpose
from .plain import CLOCK, DISK, FREEZE, PANIC, POWER
from .record import Record

if TYPE_CHECKING:
    from ...paths import Paths
    from .model import Fault


def of(paths: Paths, machine: str) -> OnPurpose:
    """What is wrong with a machine, by the record of its prefix."""
    if not os.path.exists(paths.faults()):
        return NOTHING
    return judge([one for one in Record.load(paths).faults if machine in one.machines])


def judge(faults: Iterable[Fault]) -> OnPurpose:
    """What faults of a machine mean together."""
    found = list(faults)
    stands = next((one.id for one in found if one.kind == FREEZE), "")
    silent = stands or next((one.id for one in found if _silences(one)), "")
    return OnPurpose(_clock(one for one in found if one.kind == CLOCK), stands, silent)


def _silences(fault: Fault) -> bool:
    """Whether a machine need not answer: one that can't read its disks may have nothing to do so with."""
    wrong = fault.settings
    unread = wrong.get("error") in ("read", "both") or wrong.get("detach") or wrong.get("full")
    return fault.kind in (PANIC, POWER) or (fault.kind == DISK and bool(unread))


def _clock(faults: Iterable[Fault]) -> Clock:
    """A clock that several faults make wrong: what each adds is added."""
    ahead = drift = 0.0
    for one in faults:
        rate = one.settings.get("drift", 0.0)
        ahead += one.settings.get("by", 0.0) - rate * one.since
        drift += rate
    return Clock(ahead, drift, 0.0)
