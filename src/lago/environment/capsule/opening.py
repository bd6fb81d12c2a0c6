"""Capsules are opened: their environments go on from the instant of the failure, as forks of what is kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from ...errors import Errors, PrefixError, VMNotReady
from ...log import LOG
from ...paths import Paths
from ..snapshots.index import Index, Saved
from ..workdir import CURRENT, Workdir
from . import hosts, shelf
from .about import SNAPSHOT

if TYPE_CHECKING:
    from ...virt.readiness import Phase
    from ..prefix import Prefix
    from .shelf import Capsule


_PATIENCE: Final = 30.0
"""Seconds that a machine has to answer, which was on its way when the test failed: as it answers then, or never."""


class Opened(NamedTuple):
    """An environment that was opened: its name in the workdir, and the prefix."""

    name: str
    prefix: Prefix


def targets(capsule: Capsule, workdir: Workdir, name: str | None) -> Mapping[str, str]:
    """Return the paths of the environments that are to be made, by their names in the capsule.

    Args:
        name: what the new environment is called; several have it before names of their own. Without it that of the
            capsule, with a number if it is taken.

    Raises:
        PrefixError: the name can't be one, or is taken.
    """
    inside = list(capsule.about.environments)

    def called(base: str) -> dict[str, str]:
        return {one: base if len(inside) == 1 else f"{base}-{one}" for one in inside}

    taken = [*workdir.prefixes(), *workdir.remains()]
    if name is None:
        number, name = 1, capsule.name
        while any(one in taken or os.path.lexists(workdir.join(one)) for one in called(name).values()):
            number += 1
            name = f"{capsule.name}-{number}"
    paths = {one: workdir.free(new) for one, new in called(name).items()}
    if there := [path for path in paths.values() if os.path.lexists(path)]:
        raise PrefixError(f"{there[0]} exists already", hint="choose another name: lago capsule open NAME NEW_PREFIX")
    return paths


def check(capsule: Capsule) -> None:
    """Raise LagoError if the memory of a capsule can't go on here."""
    if has_memory(capsule):
        hosts.check(capsule.name, capsule.about.host, f"lago capsule open --without-memory {capsule.name}")


def has_memory(capsule: Capsule) -> bool:
    """Whether memory of a machine is in a capsule."""
    return any(
        saved.memory
        for environment in capsule.about.environments
        for saved in _snapshot_vms(Paths(os.path.join(capsule.path, environment)))
    )


def _snapshot_vms(paths: Paths) -> list[Saved]:
    return list(Index.load(paths).get(SNAPSHOT).vms.values())


def open_(
    name: str,
    workdir: Workdir,
    new_name: str | None,
    on_phase: Phase,
    *,
    memory: bool = True,
) -> list[Opened]:
    """Make environments that go on from a capsule, and return when their machines answer.

    The first prefix of a workdir becomes the current one. If one can't go on, none of them is kept.

    Args:
        name: of the capsule.
        new_name: see `targets`.
        memory: let machines that ran go on from where they were; otherwise they boot from their disks, and nothing is
            broken on purpose.

    Raises:
        LagoError: there is no such capsule, or its memory can't go on here.
        PrefixError: the workdir is not ours, or a name is taken.
        VMNotReady: a machine does not answer.
    """
    workdir.check_trusted()
    made: list[Opened] = []
    with shelf.reading(name) as capsule:
        if memory:
            check(capsule)
        paths = targets(capsule, workdir, new_name)
        os.makedirs(workdir.path, 0o755, exist_ok=True)
        try:
            for environment, path in paths.items():
                prefix = capsule.prefix(environment).fork(path, SNAPSHOT, start=False)
                made.append(Opened(os.path.basename(path), prefix))
                if not memory:
                    forget_memory(prefix.paths)
                capsule.note_opened(prefix)
            for one in made:
                _bring_up(one, on_phase, memory=memory)
        except BaseException:
            for one in made:
                one.prefix.destroy()
            raise
    if workdir.chosen() not in workdir.prefixes() and not os.path.lexists(workdir.join(CURRENT)):
        workdir.set_current(made[0].name)
    return made


def _bring_up(one: Opened, on_phase: Phase, *, memory: bool) -> None:
    try:
        one.prefix.revert_snapshots(SNAPSHOT, on_phase=on_phase, patience=_PATIENCE)
        if not memory:
            one.prefix.start(on_phase=on_phase)
    except (VMNotReady, Errors) as error:
        # One that does not answer may be just what the test failed for.
        if not all(isinstance(found, VMNotReady) for found in (error.errors if isinstance(error, Errors) else [error])):
            raise
        LOG.warning("%s: not all machines answer; maybe they did not then: %s", one.name, error)


def forget_memory(paths: Paths) -> None:
    """Leave the memory out of the snapshot of an environment that was never started, and what was broken then."""
    index = Index.load(paths)
    then = index.get(SNAPSHOT)
    files = [path for saved in then.vms.values() for path in (saved.memory, saved.state) if path]
    vms = {vm: saved._replace(memory=None, state=None, whole="") for vm, saved in then.vms.items()}
    index.snapshots[SNAPSHOT] = then._replace(vms=vms, faults=())
    index.save(paths)
    for path in files:
        os.unlink(os.path.join(paths.prefix(), path))
