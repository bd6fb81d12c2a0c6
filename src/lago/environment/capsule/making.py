"""Capsules are made, of environments that run."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import partial

from ...errors import LagoError
from ...host.parallel import in_parallel
from ...log import task
from ..faults import words
from ..prefix import Prefix
from ..snapshots.index import Index
from . import about, hosts, shelf
from .about import SNAPSHOT, About, Inside


def make(test: str, environments: Mapping[str, Prefix]) -> str:
    """Keep environments as they are now in a capsule, and return its name; they go on as before.

    What is broken on purpose in them is so when the capsule is opened. The longest unused other capsules go if there is
    no room for all.

    Args:
        test: what failed, as pytest names it; the capsule is called after it.
        environments: by name.

    Raises:
        LagoError: an environment can't be snapshotted or forked; nothing is kept then.
        OSError: something can't be written.
    """
    names = inside_names(environments)
    with task(f"Make a capsule of {test}"), shelf.new(about.name_of(test)) as (place, called):
        began = time.time()
        first, *_ = environments.values()
        save = {
            names[name]: partial(_save, prefix, os.path.join(place, names[name]))
            for name, prefix in environments.items()
        }
        found = dict(zip(save, in_parallel(lambda one: one(), save.values(), what="save environments"), strict=True))
        about.save(place, About(about.line(test), began, hosts.here(first.virt_env.accel.kind), found))
    shelf.prune()
    return called[0]


def inside_names(environments: Mapping[str, object]) -> dict[str, str]:
    """Names of environments in a capsule, by those that they have."""
    found: dict[str, str] = {}
    for name in environments:
        found[name] = about.unique(about.name_of(name), found.values())
    return found


def _save(prefix: Prefix, path: str) -> Inside:
    if not os.path.isdir(prefix.paths.prefix()):
        raise LagoError(f"{prefix.paths.prefix()} is gone", hint="nothing of it can be kept")
    states = prefix.virt_env.states() if prefix.hypervisor.running() else dict.fromkeys(prefix.topology.domains, "down")
    faults = tuple(map(words.spell, prefix.faults()))
    made = prefix.fork(path, start=False)
    rename(made, SNAPSHOT)
    return Inside(states, faults)


def rename(made: Prefix, name: str) -> None:
    """Let the one snapshot of a fork have another name."""
    index = Index.load(made.paths)
    [only] = index.snapshots.values()
    index.snapshots = {name: only._replace(name=name, parent=None)}
    index.current = name
    index.save(made.paths)
