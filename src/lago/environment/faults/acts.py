"""What is done with faults: inflicted all or none, healed, and made true again after machines came back.

The record is written before anything is changed, and again when it is, so that whoever comes after a Lago that was
killed knows what may be half done: what was to be inflicted is inflicted, what was to be undone is undone.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from typing import TYPE_CHECKING, Any

from ...errors import Errors, LagoError
from ...host.suggest import near
from ...journal.writing import Journal
from ...log import LOG
from . import places, words
from .model import Fault, Kind, Means
from .plain import POWER
from .record import Record
from .registry import KINDS

if TYPE_CHECKING:
    from ...paths import Paths
    from ...virt import VirtEnv


def _save(record: Record, paths: Paths) -> None:
    """Write the record, and to the journal what holds since it was written last, and what does not any more."""
    holding = {one.id: one for one in (*record.faults, *record.undoing) if one.id not in record.unsure}
    journal = Journal(paths.prefix())
    for name, one in holding.items():
        if name not in record.told:
            record.told[name] = journal.span("fault", **_told(one)).id
    for name in [name for name in record.told if name not in holding and name not in record.unsure]:
        journal.event("end", id=record.told.pop(name), outcome="ok")
    record.save(paths)


def _told(one: Fault) -> dict[str, Any]:
    return {"name": one.id, "what": one.kind, "words": words.spell(one), "targets": list(one.targets)}


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
    _save(record, env.paths)
    try:
        _change(env, [], new, record.faults)
    except BaseException:
        record.faults = [one for one in record.faults if one.id not in record.unsure]
        record.unsure, record.undoing = [], lasting
        _save(record, env.paths)
        # What went wrong first is what the user must hear of.
        _change_if_possible(env, lasting, [], record.faults)
        record.undoing = []
        _save(record, env.paths)
        raise
    record.unsure = []
    _save(record, env.paths)
    for one in new:
        if one not in lasting:
            Journal(env.paths.prefix()).span("fault", **_told(one)).close()
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
    _save(record, env.paths)
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
    try:
        _change(env, record.undoing, [], record.faults)
    except BaseException:
        # It holds still, and whoever works with the environment need not try again.
        record.faults, record.undoing = [*record.faults, *record.undoing], []
        _save(record, env.paths)
        raise
    record.end(record.undoing, time.time())
    record.undoing = []
    _save(record, env.paths)


def recover(env: VirtEnv) -> None:
    """Finish what a Lago that was killed had begun."""
    record = Record.load(env.paths)
    if not record.busy:
        return
    LOG.warning("faults were being changed when Lago was killed, or failed; that is finished now")
    unsure = [one for one in record.faults if one.id in record.unsure]
    if _change_if_possible(env, record.undoing, unsure, record.faults):
        record.end(record.undoing, time.time())
    else:
        # Whoever works with the environment must not try again and again.
        record.faults += record.undoing
    record.unsure, record.undoing = [], []
    _save(record, env.paths)


def reapply(env: VirtEnv, *, inside: bool = False) -> None:
    """Make all faults true again: machines or nets were started.

    Args:
        inside: those that need guests which answer; otherwise the others.
    """
    faults = Record.load(env.paths).faults
    again = [one for one in faults if not KINDS[one.kind].once and KINDS[one.kind].inside is inside]
    if again:
        _change(env, [], again, faults)


def started(paths: Paths, names: Iterable[str]) -> None:
    """Record that machines have power again, as they are about to be started."""
    _without(paths, {*names}, lambda kind: kind.name == POWER)


def stopped(paths: Paths, names: Iterable[str]) -> None:
    """Record that what ends with machines has ended, as they were stopped."""
    _without(paths, {*names}, lambda kind: kind.ends)


def _without(paths: Paths, names: Set[str], meant: Callable[[Kind], bool]) -> None:
    """Leave some machines out of faults of some kinds, which end if they are about no other."""
    record = Record.load(paths)
    about = [one for one in record.faults if meant(KINDS[one.kind]) and one.machines & names]
    if not about:
        return
    left = {one.id: tuple(word for word in one.targets if word.partition(":")[0] not in names) for one in about}
    record.end([one for one in about if not left[one.id]], time.time())
    record.faults = [dataclasses.replace(one, targets=left.get(one.id, one.targets)) for one in record.faults]
    _save(record, paths)


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
    _save(record, env.paths)


def settle(env: VirtEnv) -> None:
    """Make the faults true that `become` has recorded."""
    record = Record.load(env.paths)
    if record.busy:
        gone, again = ([one for one in some if not KINDS[one.kind].saved] for some in (record.undoing, record.faults))
        _change(env, gone, again, record.faults)
        record.end(record.undoing, time.time())
        record.unsure, record.undoing = [], []
        _save(record, env.paths)


def forget(paths: Paths) -> None:
    """Record that nothing is broken any more, as nothing runs."""
    record = Record.load(paths)
    if record.faults or record.busy:
        record.end([*record.faults, *record.undoing], time.time())
        record.unsure, record.undoing = [], []
        _save(record, paths)


def busy(paths: Paths) -> bool:
    """Whether Lago was killed while it changed faults, as nobody does just now."""
    return Record.load(paths).busy


def _change_if_possible(env: VirtEnv, gone: Sequence[Fault], new: Sequence[Fault], now: Sequence[Fault]) -> bool:
    """As `_change`; whether it could be done, and if not, that is told."""
    try:
        _change(env, gone, new, now)
    except LagoError as error:
        LOG.warning("not all that is broken on purpose is as it is recorded: %s", error.render())
        return False
    return True


def _change(env: VirtEnv, gone: Sequence[Fault], new: Sequence[Fault], now: Sequence[Fault]) -> None:
    # Guests are reached over their nets, so these are healed first, and broken last.
    found = sorted(_means([*gone, *new]), key=_order, reverse=not gone)
    for means in found:
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


def _order(means: Means) -> int:
    return next(place for place, kind in enumerate(KINDS.values()) if kind.means is means)
