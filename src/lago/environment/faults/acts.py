"""What is done with faults: inflicted all or none, healed, and made true again after machines came back.

The record is written before anything is changed, and again when it is, so that whoever comes after a Lago that was
killed knows what may be half done: what was to be inflicted is inflicted, what was to be undone is undone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import Errors, LagoError
from ...host.suggest import near
from ...log import LOG
from . import places, words
from .model import Fault, Means
from .record import Record
from .registry import KINDS

if TYPE_CHECKING:
    from ...paths import Paths
    from ...virt import VirtEnv


def current(paths: Paths) -> list[Fault]:
    """What is broken, oldest first."""
    return Record.load(paths).faults


def timeline(paths: Paths) -> list[dict[str, Any]]:
    """What was broken and when, oldest first."""
    record = Record.load(paths)
    found = [(Fault.of_plain({k: v for k, v in one.items() if k != "until"}), one["until"]) for one in record.history]
    found += [(one, None) for one in record.faults]
    lines = [{"id": one.id, "fault": words.spell(one), "since": one.since, "until": until} for one, until in found]
    return sorted(lines, key=lambda one: one["since"])


def inflict(env: VirtEnv, wanted: Sequence[Fault]) -> list[Fault]:
    """Inflict faults, all or none.

    Returns:
        Them with their ids, and how they are done.

    Raises:
        LagoError: one can't be; nothing has changed.
    """
    record = Record.load(env.paths)
    new = [dataclasses.replace(one, means=means) for one, means in zip(wanted, _check(env, wanted), strict=True)]
    now = time.time()
    new = [dataclasses.replace(one, id=record.next_id(), since=now) for one in new]
    lasting = [one for one in new if KINDS[one.kind].lasting]
    record.faults += lasting
    record.unsure = [one.id for one in lasting]
    record.save(env.paths)
    try:
        _change(env, [], new, record.faults)
    except BaseException:
        record.faults = [one for one in record.faults if one.id not in record.unsure]
        record.unsure, record.undoing = [], lasting
        record.save(env.paths)
        # What went wrong first is what the user must hear of; the next command tries again.
        with _told():
            _change(env, lasting, [], record.faults)
            record.undoing = []
            record.save(env.paths)
        raise
    record.unsure = []
    record.save(env.paths)
    return new


def _check(env: VirtEnv, wanted: Sequence[Fault]) -> list[str]:
    """How each would be done. Raises LagoError, all mistakes of it."""
    said, errors = [], []
    with places.asked_once(env):
        for one in wanted:
            try:
                said.append(KINDS[one.kind].means.check(env, one))
            except LagoError as error:
                errors.append(error)
    if len(errors) > 1:
        raise Errors(f"{len(errors)} of {len(wanted)} faults can't be inflicted, and none is", errors)
    if errors:
        raise errors[0]
    return said


def heal(env: VirtEnv, which: Iterable[str] = ()) -> list[Fault]:
    """Heal faults, all or none, and return them.

    Args:
        which: ids, names of machines that faults name, targets or kinds; without them all.

    Raises:
        LagoError: there is no such fault.
    """
    record = Record.load(env.paths)
    names = list(which)
    gone = _meant(env, record.faults, names) if names else list(record.faults)
    if not gone:
        return []
    ids = {one.id for one in gone}
    record.faults = [one for one in record.faults if one.id not in ids]
    record.undoing += gone
    record.save(env.paths)
    _undo(env, record)
    return gone


def _meant(env: VirtEnv, faults: Sequence[Fault], names: Iterable[str]) -> list[Fault]:
    found: dict[str, Fault] = {}
    for name in names:
        meant = [one for one in faults if name in (one.id, one.kind) or name in one.targets or name in one.machines]
        if not meant:
            check_name(env, name, [one.id for one in faults])
        found.update((one.id, one) for one in meant)
    return [one for one in faults if one.id in found]


def check_name(env: VirtEnv, name: str, ids: Sequence[str] = ()) -> None:
    """Raise LagoError if a name is neither that of a machine nor of a kind of faults, and no id."""
    if name not in (*env.get_vms(), *KINDS, *ids):
        raise LagoError(
            f"there is no fault {name}, nor a machine of that name", hint=near(name, [*ids, *env.get_vms()])
        )


def _undo(env: VirtEnv, record: Record) -> None:
    """Undo what is no longer meant to be, and record that it is."""
    _change(env, record.undoing, [], record.faults)
    record.end(record.undoing, time.time())
    record.undoing = []
    record.save(env.paths)


def recover(env: VirtEnv) -> None:
    """Finish what a Lago that was killed had begun."""
    record = Record.load(env.paths)
    if not record.busy:
        return
    LOG.warning("faults were being changed when Lago was killed, or failed; that is finished now")
    with _told():
        _change(env, record.undoing, [one for one in record.faults if one.id in record.unsure], record.faults)
        record.end(record.undoing, time.time())
        record.unsure, record.undoing = [], []
        record.save(env.paths)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Context manager: an error of Lago's is logged, and ends the block only."""
    try:
        yield
    except LagoError as error:
        LOG.warning("%s", error.render())


def reapply(env: VirtEnv) -> None:
    """Make all faults true again: machines or nets were started."""
    record = Record.load(env.paths)
    if record.faults:
        _change(env, [], record.faults, record.faults)


def become(env: VirtEnv, faults: Sequence[Fault]) -> None:
    """Record other faults than hold now as those that do: machines are about to go back. `settle` makes them true."""
    record = Record.load(env.paths)
    ids = {one.id for one in faults}
    gone = [one for one in record.faults if one.id not in ids]
    if not faults and not gone:
        return
    record.faults = list(faults)
    record.number = max([record.number, *(int(one.id[1:]) for one in faults)])
    record.unsure, record.undoing = [one.id for one in faults], [*record.undoing, *gone]
    record.save(env.paths)


def settle(env: VirtEnv) -> None:
    """Make the faults true that `become` has recorded."""
    record = Record.load(env.paths)
    if record.busy:
        _change(env, record.undoing, record.faults, record.faults)
        record.end(record.undoing, time.time())
        record.unsure, record.undoing = [], []
        record.save(env.paths)


def forget(paths: Paths) -> None:
    """Record that nothing is broken any more, as nothing runs."""
    record = Record.load(paths)
    if record.faults or record.busy:
        record.end([*record.faults, *record.undoing], time.time())
        record.unsure, record.undoing = [], []
        record.save(paths)


def busy(paths: Paths) -> bool:
    """Whether Lago was killed while it changed faults, as nobody does just now."""
    return Record.load(paths).busy


def _change(env: VirtEnv, gone: Sequence[Fault], new: Sequence[Fault], now: Sequence[Fault]) -> None:
    for means in _means([*gone, *new]):
        old, more = ([one for one in some if KINDS[one.kind].means is means] for some in (gone, new))
        means.change(env, old, more, now)


def _means(faults: Iterable[Fault]) -> Iterator[Means]:
    """The means that faults have, each once."""
    seen: list[Means] = []
    for one in faults:
        means = KINDS[one.kind].means
        if not any(means is other for other in seen):
            seen.append(means)
            yield means
