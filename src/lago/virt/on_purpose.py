"""What is wrong with a machine on purpose, as far as those must know who do something else to it."""

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


class OnPurpose(NamedTuple):
    """What is wrong with a machine.

    Attributes:
        clock: what its clock shall show.
        stands: the fault by which it stands still, if it shall.
        silent: the fault for which it need not answer, if there is one.
    """

    clock: Clock = RIGHT
    stands: str = ""
    silent: str = ""


NOTHING: Final = OnPurpose()
