"""Values of faults: times, shares and rates, as people write them, and as they are kept.

Readers take a text or a number of a program, and return what JSON has; a wrong value raises ValueError.
"""

from __future__ import annotations

import re
from typing import Any, Final

from ...topology.address import Address

_TIMES: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_RATES: Final = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
_PORTS: Final = r"[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*"
_HIGHEST: Final = 65535


def _number(raw: Any, units: dict[str, float] | dict[str, int], what: str) -> float:
    """Read a number with one of some units; a number of a program has none."""
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        return float(raw)
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([a-z]+)", str(raw).strip().lower())
    if found is None or found[2] not in units:
        raise ValueError(f"{raw!r} is no {what}: write a number with one of {', '.join(units)}")
    return float(found[1]) * units[found[2]]


def seconds(raw: Any) -> float:
    """Read a time, such as `200ms` or `5m`; a number is of seconds."""
    value = _number(raw, _TIMES, "time")
    if not 0 < value < float("inf"):
        raise ValueError(f"{raw!r} is no time: it must be more than zero")
    return value


def spell_seconds(value: float) -> str:
    """Write a time as it is read."""
    for unit, size in (("h", 3600.0), ("m", 60.0), ("s", 1.0)):
        if value >= size and round(value / size, 3) == int(value / size):
            return f"{value / size:g}{unit}"
    return f"{value:g}s" if value >= 1 else f"{value * 1000:g}ms"


def share(raw: Any) -> float:
    """Read a share of packets, such as `10%`; a number of a program is a part of one, such as 0.1."""
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        value = float(raw)
    elif re.fullmatch(r"[0-9]+(\.[0-9]+)?%", str(raw)):
        value = round(float(str(raw)[:-1]) / 100, 9)
    else:
        raise ValueError(f"{raw!r} is no share: write it as 10%")
    if not 0 < value <= 1:
        raise ValueError(f"{raw!r} is no share: it must be more than zero, and 100% at most")
    return value


def spell_share(value: float) -> str:
    """Write a share as it is read."""
    return f"{round(value * 100, 7):g}%"


def rate(raw: Any) -> int:
    """Read a rate, such as `1mbit`; a number is of bits a second."""
    value = _number(raw, _RATES, "rate")
    if value <= 0:
        raise ValueError(f"{raw!r} is no rate: it must be more than zero")
    if not 8000 <= value <= 1e12:
        raise ValueError(f"{raw!r} is no rate that can be kept: it must be from 8kbit to 1000gbit")
    return int(value)


def spell_rate(value: int) -> str:
    """Write a rate as it is read."""
    for unit in ("gbit", "mbit", "kbit"):
        if value % _RATES[unit] == 0:
            return f"{value // _RATES[unit]}{unit}"
    return f"{value}bit"


def ports(raw: Any) -> str:
    """Read ports: `80`, `80,443`, `8000-8100`; a number or a list of numbers."""
    text = ",".join(str(one) for one in raw) if isinstance(raw, list | tuple) else str(raw)
    if re.fullmatch(_PORTS, text):
        ranges = [[int(end) for end in one.split("-")] for one in text.split(",")]
        if all(1 <= one[0] <= one[-1] <= _HIGHEST for one in ranges):
            return text
    raise ValueError(f"{text!r} are no ports: write numbers from 1 to {_HIGHEST} as 80,443,8000-8100")


def flag(raw: Any) -> bool:
    """Read what is said or not."""
    if not isinstance(raw, bool):
        raise ValueError(f"{raw!r} is neither true nor false")
    return raw


def answer(raw: Any) -> str:
    """Read what a name is answered with, `db=192.168.200.99`. Raises ValueError."""
    name, equals, address = str(raw).partition("=")
    if not name or not equals:
        raise ValueError(f"{raw!r} is no answer: write NAME=ADDRESS")
    try:
        Address(address)
    except ValueError:
        raise ValueError(f"{address!r} in {raw!r} is no IPv4 address") from None
    return f"{name.lower()}={address}"
