"""Admission by memory: of several processes that want to start machines, as many at once as the memory is enough for.

Each holds a lock on a file of its own, whose name says how much it may need. The kernel frees the lock however the
process ends, so what a killed one had is available again. Forks share most of their memory, so they count as what they
really hold, with a reserve for what they write next: their files name the processes that are looked at.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from .. import config
from ..errors import LockTimeout
from ..host.locks import lock_file
from ..virt import pages

_SHARE: Final = 0.9
"""How much of the memory that is available may be used."""

_PACE: Final = 0.5
_BRIEF: Final = 60


class Claim:
    """What one environment may use, while its file is locked.

    Args:
        file: descriptor of the file, which is empty.
    """

    def __init__(self, file: int) -> None:
        self._file = file

    def measure(self, processes: Iterable[int], reserve: int) -> None:
        """Let it count from now on as what processes hold.

        Args:
            reserve: MiB that are added, for what they write next.
        """
        words = [reserve, *processes]
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, " ".join(map(str, words)).encode(), 0)


@contextlib.contextmanager
def admitted(mib: int, limit: int | None, say: Callable[[str], None], *, wait: bool) -> Iterator[Claim]:
    """Context manager: `mib` MiB are ours, once there is room for them; alone one has always room.

    Args:
        limit: MiB for all together, in place of most of what is available.
        say: told once if we have to wait.
        wait: false for one that has some already: if those waited for more, all could wait for each other.
    """
    with contextlib.ExitStack() as held:
        said = False
        while (claim := _enter(mib, limit, held, wait=wait)) is None:
            if not said:
                say(f"lago: waiting for {mib} MiB of memory, which environments of other processes have")
                said = True
            # What we wait for, any one of several locks, has no event.
            time.sleep(_PACE)
        yield claim


def spare(mib: int, limit: int | None, held: contextlib.ExitStack) -> Claim | None:
    """Claim `mib` MiB if there is room for them now.

    Args:
        limit: as for `admitted`.
        held: what frees them.
    """
    return _enter(mib, limit, held, wait=True)


def _enter(mib: int, limit: int | None, held: contextlib.ExitStack, *, wait: bool) -> Claim | None:
    pool = Path(config.cache_home(), "pytest-memory")
    pool.mkdir(parents=True, exist_ok=True)
    with lock_file(str(pool / "lock"), what=str(pool), timeout=_BRIEF):
        others = sum(_counts(path) for path in pool.glob("*.[0-9]*") if _alive(path))
        budget = pool / "budget"
        if not others:
            budget.write_text(str(int(available() * _SHARE)))
        allowed = limit or int(budget.read_text())
        if wait and not fits(mib, others, allowed, available()):
            return None
        claim = pool / f"{os.getpid()}-{os.urandom(4).hex()}.{mib}"
        held.callback(claim.unlink, missing_ok=True)
        file = held.enter_context(lock_file(str(claim), what=str(claim), timeout=0))
        os.ftruncate(file, 0)
        return Claim(file)


def fits(mib: int, others: int, budget: int, free: int) -> bool:
    """Whether there is room for `mib` beside what others have."""
    return not others or (others + mib <= budget and mib <= free)


def _counts(claim: Path) -> int:
    """MiB of a claim: those of its name, or those that its processes hold, and its reserve."""
    reserve, *processes = [int(word) for word in claim.read_text(encoding="ascii").split()] or [int(claim.suffix[1:])]
    return reserve + (sum(_held(pid) for pid in processes) >> 20)


def _held(pid: int) -> int:
    """Bytes that a process has for itself; nothing if it has ended."""
    with contextlib.suppress(OSError):
        return pages.held(pid)
    return 0


def _alive(claim: Path) -> bool:
    """Whether the process that made a claim still has it; the file goes otherwise."""
    try:
        with lock_file(str(claim), what=str(claim), timeout=0, shared=True):
            claim.unlink()
    except LockTimeout:
        return True
    return False


def available() -> int:
    """MiB that programs can have without swapping, as the kernel estimates it."""
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("MemAvailable:")) >> 10
