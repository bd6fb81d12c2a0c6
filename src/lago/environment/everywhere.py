"""All environments of this user on this host, over all workdirs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final, NamedTuple

from ..errors import LagoError
from ..host import trust
from ..paths import Paths
from . import registry
from .prefix import Prefix
from .workdir import is_prefix

UP: Final = "up"
DOWN: Final = "down"
LOST: Final = "lost"
CLEANED_UP: Final = "cleaned up"
MOVED: Final = "moved"
REFUSED: Final = "refused"
MISSING: Final = "missing"


class Environment(NamedTuple):
    """An environment, as the list has it.

    Attributes:
        uuid: what tells it from all others.
        name: of its prefix.
        workdir: the directory of that.
        path: of its prefix; of one that was moved where it was.
        state: `up` if its hypervisor runs; `down`; `lost` if that runs but can't be reached; `cleaned up`; `moved`,
            nobody knows where to; `missing`, if it is on a file system that is not there; or `refused`, see `why`.
        machines: how many it has; None if it can't be read.
        made: when, seconds since 1970; None if it is not there.
        since: since when it is up, the same way.
        why: what is wrong with it; empty if nothing is.
    """

    uuid: str
    name: str
    workdir: str
    path: str
    state: str
    machines: int | None = None
    made: float | None = None
    since: float | None = None
    why: str = ""


def environments() -> list[Environment]:
    """All environments that this user has on this host, by path.

    Those that are gone are left out. Prefixes of earlier releases appear when a command has touched them.
    """
    return sorted(_found(), key=lambda one: one.path)


def _found() -> Iterator[Environment]:
    for user in registry.recorded():
        if user.state in ("here", "moved", "missing"):
            path, state = user.path, user.state
            if state != "here" and (near := _renamed(user.uuid, path)):
                path, state = near, "here"
                registry.record(Paths(path))
            if state == "missing" and os.path.isdir(os.path.dirname(path)):
                # Its file system is there, and it is not.
                registry.forget(user.uuid)
                continue
            if state == "here" and os.stat(path).st_uid != os.geteuid():
                continue
            yield _environment(user.uuid, path, state)


def _renamed(uuid: str, path: str) -> str | None:
    """Where a prefix is that was given another name in its workdir."""
    with contextlib.suppress(OSError):
        directory = os.path.dirname(path)
        for name in sorted(os.listdir(directory)):
            with contextlib.suppress(OSError, LagoError):
                here = os.path.join(directory, name)
                if not os.path.islink(here) and trust.read_uuid(Paths(here).uuid()) == uuid:
                    return here
    return None


def _environment(uuid: str, path: str, state: str) -> Environment:
    workdir, name = os.path.split(path)
    plain = Environment(uuid, name, workdir, path, state)
    if state != "here":
        return plain
    prefix = Prefix(path)
    try:
        plain = plain._replace(made=os.stat(prefix.paths.uuid()).st_mtime)
        if not is_prefix(path):
            return plain._replace(state=CLEANED_UP)
        prefix.check_trusted()
        number = len(prefix.topology.domains)
        state = UP if prefix.runs() else DOWN if prefix.hypervisor.lost() is None else LOST
        since = None if state == DOWN else _began(prefix)
        return plain._replace(state=state, machines=number, since=since)
    except LagoError as error:
        return plain._replace(state=REFUSED, why=str(error))
    except OSError as error:
        return plain._replace(state=REFUSED, why=f"{error.filename or path}: {error.strerror}")


def _began(prefix: Prefix) -> float | None:
    with contextlib.suppress(OSError):
        return os.stat(prefix.paths.hypervisor()).st_mtime
    return None
