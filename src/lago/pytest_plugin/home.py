"""The directory of one pytest process, in which its environments are, and what killed processes left in theirs."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .. import config
from ..environment.workdir import Workdir
from ..errors import LagoError, LockTimeout
from ..host.locks import lock_file
from ..log import LOG

_LOCK: Final = ".lock"
_PATIENCE: Final = 600


@contextlib.contextmanager
def held(base: Path, worker: str) -> Iterator[Path]:
    """Context manager: a new locked directory in `base`; what others left there who have ended is removed.

    It goes at the end, unless environments are kept in it.
    """
    home = base / f"{worker}-{os.getpid()}"
    with contextlib.ExitStack() as lock:
        with _locked():
            sweep(base)
            home.mkdir(parents=True)
            lock.enter_context(lock_file(str(home / _LOCK), what=str(home), timeout=0))
        try:
            yield home
        finally:
            with _locked():
                if not any(entry.name != _LOCK for entry in home.iterdir()):
                    shutil.rmtree(home)
                with contextlib.suppress(OSError):
                    base.rmdir()


def _locked() -> contextlib.AbstractContextManager[int]:
    """Context manager: nobody else makes or removes such directories."""
    directory = config.cache_home()
    os.makedirs(directory, exist_ok=True)
    return lock_file(os.path.join(directory, "pytest.lock"), what="the directories of pytest", timeout=_PATIENCE)


def sweep(base: Path) -> None:
    """Remove the directories of processes that have ended, with the environments in them."""
    for home in base.glob("*/"):
        if not (home / _LOCK).is_file():
            continue
        with contextlib.suppress(LockTimeout), lock_file(str(home / _LOCK), what=str(home), timeout=0):
            _remove(home)


def _remove(home: Path) -> None:
    for place in home.iterdir():
        if place.name != _LOCK:
            workdir = Workdir(str(place))
            try:
                workdir.destroy(workdir.prefixes() + workdir.remains())
            except LagoError as error:
                LOG.warning("%s, which an earlier run of pytest left, can't be removed: %s", place, error.render())
                return
    shutil.rmtree(home)
