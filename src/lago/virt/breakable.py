"""What programs say to break a machine; what is broken stays so until it is healed."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol


class Broken(AbstractContextManager[Any], Protocol):
    """Something that is broken, which is healed at the end of a `with` block."""

    def heal(self) -> None:
        """Heal it, if it still holds. Raises LagoError."""


class Faults(Protocol):
    """What breaks things of an environment on purpose, as `lago.Prefix` does."""

    def fault(self, kind: str, *targets: str, **settings: Any) -> Broken:
        """Break something, as `lago fault` does.

        Args:
            kind: the word for it.
            targets: what it is about.
            settings: its options by name.
        """


class Breakable(abc.ABC):
    """A machine that can be broken on purpose.

    Each of these returns something that heals it, by its method `heal` or at the end of a `with` block. `lago heal`
    heals it as well; so does going back to a snapshot of before, and stopping the machine.
    """

    @abc.abstractmethod
    def name(self) -> str:
        """Name that it has in the init file."""

    @abc.abstractmethod
    def _faults(self) -> Faults:
        """What breaks it, and records that."""

    def cut(self, net: str | None = None, *, unplug: bool = False) -> Broken:
        """Cut it off; Lago's own way in stays.

        Args:
            net: a net that it is on, or one of its nics, such as `eth1`; without it all.
            unplug: let its guest see that there is no link; then Lago does not reach it either.

        Raises:
            LagoError: it is not on that net, or it can't be done here.
            VMNotRunning: it is down.
        """
        return self._faults().fault("cut", f"{self.name()}:{net}" if net else self.name(), unplug=unplug)

    def slow(self, **settings: Any) -> Broken:
        """Make all that it sends and gets slow, lossy or narrow.

        Args:
            settings: as of `lago.sdk.Env.slow`, such as `delay` in seconds and `loss` as a part of one.

        Raises:
            LagoError: it can't be done here.
            VMNotRunning: it is down.
        """
        return self._faults().fault("slow", self.name(), **settings)

    def power_cut(self) -> Broken:
        """Cut its power off: it is down at once, and what it had not written yet is lost. Healed, it boots.

        Raises:
            VMNotRunning: it is down.
        """
        return self._faults().fault("power-cut", self.name())

    def frozen(self) -> Broken:
        """Freeze it, with all that it has in memory. Healed, it goes on, and its clock is put right.

        Raises:
            VMNotRunning: it is down.
        """
        return self._faults().fault("freeze", self.name())

    def panic(self) -> Broken:
        """Let its kernel panic, by an NMI. Healed, it boots again.

        Raises:
            VMNotRunning: it is down.
            VMError: its kernel did not panic.
        """
        return self._faults().fault("panic", self.name())

    def reset(self) -> None:
        """Press its reset button: it boots again, without an end of what ran. Nothing is waited for.

        Raises:
            VMNotRunning: it is down.
        """
        self._faults().fault("reset", self.name())

    def skew(self, seconds: float = 0.0, *, drift: float = 0.0) -> Broken:
        """Let its clock be wrong.

        Args:
            seconds: by which it is ahead; less than 0 is behind.
            drift: seconds by which it gains in each second, such as 100e-6; less than 0 is slow; 0.1 at most.

        Raises:
            VMNotRunning, VMNotReady: it does not run or answer.
            VMError: its clock can't be set there.
        """
        return self._faults().fault("clock", self.name(), by=seconds or None, drift=drift or None)

    def squeeze(self, *, memory: int | None = None, cpu: float | None = None) -> Broken:
        """Leave it less memory, or less of its processors.

        Args:
            memory: MiB that it has then; without it as many as before.
            cpu: part of the time for which its processors run, such as 0.1; without it all of it.

        Raises:
            ValueError: neither is said, or both are.
            VMNotRunning, VMNotReady: it does not run or answer.
            VMError: it uses more memory than that.
        """
        if (memory is None) == (cpu is None):
            raise ValueError("squeeze takes either memory or cpu")
        if cpu is not None:
            return self._faults().fault("cpu", self.name(), share=cpu)
        return self._faults().fault("memory", self.name(), size=memory)

    def disk(self, name: str) -> BreakableDisk:
        """One of its disks, to break that.

        Args:
            name: its name in the init file, or that of its device, such as `vda`.
        """
        return BreakableDisk(self._faults(), f"{self.name()}:{name}")


class BreakableDisk(NamedTuple):
    """A disk that can be broken on purpose.

    All raise LagoError if there is no such disk, and VMNotRunning if its machine is down.
    """

    faults: Faults
    target: str

    def fail(self, what: str = "both") -> Broken:
        """Let it answer with errors.

        Args:
            what: `read`, `write` or, if nothing is said, `both`.
        """
        return self._fault({"error": what})

    def slow(self, *, iops: int | None = None, rate: int | str | None = None) -> Broken:
        """Make it slow.

        Args:
            iops: reads and writes in a second at most; without it any number.
            rate: bytes in a second at most; without it any number.
        """
        return self._fault({"iops": iops, "rate": rate})

    def read_only(self) -> Broken:
        """Let it refuse what is written to it."""
        return self._fault({"read_only": True})

    def detach(self) -> Broken:
        """Detach it: nothing of it can be read or written any more."""
        return self._fault({"detach": True})

    def fill(self) -> Broken:
        """Let this host's disk be full for it: the machine is paused when it writes next, and goes on when healed."""
        return self._fault({"full": True})

    def _fault(self, settings: Mapping[str, Any]) -> Broken:
        return self.faults.fault("disk", self.target, **settings)
