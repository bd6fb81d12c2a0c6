"""The time that the clock of a guest shall show."""

from __future__ import annotations

from typing import Final, NamedTuple


class Clock(NamedTuple):
    """A clock that is wrong, or not.

    Attributes:
        ahead: seconds by which it was ahead of ours, or behind, at an instant.
        drift: seconds by which it gains on ours in each second.
        since: the instant, by our clock.
    """

    ahead: float = 0.0
    drift: float = 0.0
    since: float = 0.0

    def at(self, now: float) -> float:
        """What it shows when ours shows `now`, both in seconds since 1970."""
        return now + self.ahead + self.drift * (now - self.since)


RIGHT: Final = Clock()
