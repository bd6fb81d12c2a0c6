"""Values of faults of machines, as people write them, and as they are kept; read and spelled as in `values`."""

from __future__ import annotations

import re
from typing import Any, Final

from .values import seconds, spell_seconds

_SIZES: Final = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_DRIFTS: Final = {"ppm": 1e-6, "%": 1e-2}
_ERRORS: Final = ("read", "write", "both")
_YEARS: Final = 50 * 365.25 * 86400
_MOST_DRIFT: Final = 0.1
"""Seconds in a second by which a kernel's clock can be made to drift at most (adjtimex(2): ticks of 9 to 11 ms)."""


def difference(raw: Any) -> float:
    """Read by how much a clock is wrong, such as `+1h` or `-90s`; a number is of seconds."""
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        value = float(raw)
    else:
        text = str(raw).strip()
        value = seconds(text.lstrip("+-")) * (-1 if text.startswith("-") else 1)
    if not 0 < abs(value) <= _YEARS:
        raise ValueError(f"{raw!r} is no wrong time: it must be away from the right one, and by 50 years at most")
    return value


def spell_difference(value: float) -> str:
    """Write a difference as it is read."""
    return f"{'-' if value < 0 else '+'}{spell_seconds(abs(value))}"


def drift(raw: Any) -> float:
    """Read how much a clock gains or loses, such as `100ppm` or `-1%`; a number is of seconds in a second."""
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        value = float(raw)
    else:
        found = re.fullmatch(r"([+-]?[0-9]+(?:\.[0-9]+)?)(ppm|%)", str(raw).strip().lower())
        if found is None:
            raise ValueError(f"{raw!r} is no drift: write it as 100ppm, or -1%")
        value = round(float(found[1]) * _DRIFTS[found[2]], 12)
    if not 0 < abs(value) <= _MOST_DRIFT:
        raise ValueError(f"{raw!r} is no drift that a clock can have: it must not be zero, and 10% at most")
    return value


def spell_drift(value: float) -> str:
    """Write a drift as it is read."""
    return f"{round(value * 1e6, 6):g}ppm" if abs(value) < 0.001 else f"{round(value * 100, 9):g}%"


def iops(raw: Any) -> int:
    """Read how many operations in a second."""
    text = str(raw)
    if isinstance(raw, bool) or not re.fullmatch(r"[0-9]{1,9}", text) or not int(text):
        raise ValueError(f"{raw!r} is no number of operations in a second: it must be a whole one, more than zero")
    return int(text)


def _bytes(raw: Any, what: str) -> int:
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([kmg]?)(?:i?b)?", str(raw).strip().lower())
    if isinstance(raw, bool) or found is None:
        raise ValueError(f"{raw!r} is no {what}: write it as 128M or 1G")
    return round(float(found[1]) * _SIZES[found[2]])


def bytes_a_second(raw: Any) -> int:
    """Read how many bytes in a second, such as `1M`; a number is of bytes."""
    value = _bytes(raw, "size")
    if not 512 <= value < 1 << 50:
        raise ValueError(f"{raw!r} is no rate that can be kept: it must be 512 bytes or more")
    return value


def spell_bytes(value: int) -> str:
    """Write bytes as they are read."""
    for unit in "gmk":
        if value % _SIZES[unit] == 0:
            return f"{value // _SIZES[unit]}{unit.upper()}"
    return str(value)


def megabytes(raw: Any) -> int:
    """Read a size of memory, such as `128M`; a number is of MiB."""
    value = raw if isinstance(raw, int) and not isinstance(raw, bool) else _bytes(raw, "size") >> 20
    if not 0 < value < 1 << 30:
        raise ValueError(f"{raw!r} is no size of memory: it must be 1M or more; write it as 128M or 1G")
    return int(value)


def spell_megabytes(value: int) -> str:
    """Write a size of memory as it is read."""
    return f"{value >> 10}G" if value % 1024 == 0 else f"{value}M"


def error(raw: Any) -> str:
    """Read what a disk answers with errors."""
    if raw not in _ERRORS:
        raise ValueError(f"{raw!r} can't fail: write {', '.join(_ERRORS[:-1])} or {_ERRORS[-1]}")
    return str(raw)
