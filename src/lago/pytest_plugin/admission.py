"""Admission by memory: of several processes that want to start machines, as many at once as the memory is enough for.

Each holds a lock on a file of its own, whose name says how much it has. The kernel frees the lock however the process
ends, so what a killed one had is available again.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from .. import config
from ..errors import LockTimeout
from ..host.locks import lock_file

_SHARE: Final = 0.9
"""How much of the memory that is available may be used."""

_PACE: Final = 0.5
_BRIEF: Final = 60


@contextlib.contextmanager
def admitted(mib: int, limit: int | None, say: Callable[[str], None], *, wait: bool) -> Iterator[None]:
    """Context manager: `mib` MiB of memory, once there is room for them; alone one has always room.

    Args:
        limit: MiB for all together, in place of most of what is available.
        say: told once if we have to wait.
        wait: false for one that has some already: if those waited for more, all could wait for each other.
    """
    pool = Path(config.cache_home(), "pytest-memory")
    pool.mkdir(parents=True, exist_ok=True)
    claim = pool / f"{os.getpid()}-{os.urandom(4).hex()}.{mib}"
    with contextlib.ExitStack() as held:
        said = False
        while not _enter(pool, claim, mib, limit, held, wait=wait):
            if not said:
                say(f"lago: waiting for {mib} MiB of memory, which environments of other processes have")
                said = True
            # What we wait for, any one of several locks, has no event.
            time.sleep(_PACE)
        yield


def _enter(pool: Path, claim: Path, mib: int, limit: int | None, held: contextlib.ExitStack, *, wait: bool) -> bool:
    with lock_file(str(pool / "lock"), what=str(pool), timeout=_BRIEF):
        others = sum(int(path.suffix[1:]) for path in pool.glob("*.[0-9]*") if _alive(path))
        budget = pool / "budget"
        if not others:
            budget.write_text(str(int(available() * _SHARE)))
        allowed = limit or int(budget.read_text())
        if wait and not fits(mib, others, allowed, available()):
            return False
        held.callback(claim.unlink, missing_ok=True)
        held.enter_context(lock_file(str(claim), what=str(claim), timeout=0))
        return True


def fits(mib: int, others: int, budget: int, free: int) -> bool:
    """Whether there is room for `mib` beside what others have."""
    return not others or (others + mib <= budget and mib <= free)


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
