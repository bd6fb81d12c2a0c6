"""A disk that becomes full at a random point of each verb that needs room on it.

What a verb needs is measured first; then a share of it is left. `LAGO_TEST_CHAOS` is the seed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from ..vm.box import Box
from ..vm.test_memory import small_disk
from .steps import check, prepare, was_done
from .verbs import VERBS, Verb
from .world import Untrue, World

QUICK = 1
ALL = 20
_MIB = 2000
_TRIES = 6
_NEED_ROOM = {
    "start",
    "revert-down",
    "snapshot",
    "snapshot-down",
    "snapshot-disks",
    "snapshot-compress",
    "snapshot-replace",
    "fork",
    "fork-from",
    "copy-from",
    "collect",
    "export",
    "init",
    "up",
    "up-warm",
    "import",
    "build",
}
"""Verbs that write to the prefix, the store or a directory that is named; the others need no room there."""


@dataclass
class _Disk:
    """A world on a small file system, and how many bytes of it each verb needs."""

    place: Path
    world: World | None
    needs: dict[str, int]

    def free(self) -> int:
        return shutil.disk_usage(self.place).free

    @contextlib.contextmanager
    def filled(self, left: int) -> Iterator[None]:
        """Leave so many bytes."""
        filler = self.place / "full"
        with filler.open("wb") as file:
            if (size := self.free() - left) > 0:
                os.posix_fallocate(file.fileno(), 0, size)
        try:
            yield
        finally:
            filler.unlink()

    def least_free(self, box: Box, words: tuple[str, ...]) -> int:
        """Run a verb to its end; the least number of free bytes meanwhile."""
        over = threading.Event()
        seen = [self.free()]

        def look() -> None:
            while not over.wait(0.002):
                seen.append(self.free())

        thread = threading.Thread(target=look)
        thread.start()
        try:
            box.lago(*words)
        finally:
            over.set()
            thread.join()
        return min([*seen, self.free()])


@pytest.fixture(scope="module")
def disk(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Disk]:
    """A small disk with a world, that `destroy` must end in the end."""
    with small_disk(tmp_path_factory.mktemp("full"), _MIB) as place:
        made = _Disk(place, None, {})
        yield made
        if made.world:
            made.world.end()


def _there(disk: _Disk) -> World:
    if disk.world is None:
        (disk.place / "world").mkdir()
        disk.world = World(Box(disk.place / "world"))
    disk.world.make()
    return disk.world


@pytest.mark.parametrize(
    "number", [pytest.param(n, id=f"disk-{n}", marks=pytest.mark.slow if n >= QUICK else ()) for n in range(ALL)]
)
def test_a_full_disk_harms_nothing(disk: _Disk, seed: str, number: int) -> None:
    verbs = [verb for verb in VERBS if verb.name in _NEED_ROOM and not (number < QUICK and verb.slow)]
    turn, place = divmod(number, len(verbs))
    Random(f"{seed}/{turn}").shuffle(verbs)
    verb, share = verbs[place], Random(f"{seed}.{number}").random()
    world = _there(disk)
    try:
        print(_step(disk, world, verb, number, share))
    except Exception as error:
        said = "\n".join(world.said)
        again = f"again: LAGO_TEST_CHAOS={seed} ... -k 'disk-{number}'"
        error.add_note(f"a full disk in `lago {' '.join(verb.words)}`\n{again}\nwhat was run:\n{said}")
        world.give_up()
        disk.world = None
        raise


def _step(disk: _Disk, world: World, verb: Verb, number: int, share: float) -> str:
    """Let a verb find the disk full, and see what is then true; returns how much room it had."""
    world.said.clear()
    box = verb.box(world)
    prepare(verb, number, world)
    if verb.name not in disk.needs:
        before = disk.free()
        disk.needs[verb.name] = before - disk.least_free(box, verb.words)
        was_done(verb, world)
        prepare(verb, number, world)
    notes = set(world.notes)
    for _ in range(_TRIES):
        left = int(share * disk.needs[verb.name])
        with disk.filled(left):
            done = box.lago(*verb.words, code=None)
            told = f"{left >> 10} KiB were left of {disk.needs[verb.name] >> 10}"
            world.said.append(f"lago {' '.join(verb.words)} -> {done.code}, {told}\n{done.err}")
            if done.code not in (0, 2):
                raise Untrue(f"lago {' '.join(verb.words)} ended with {done.code}, {told}:\n{done.out}{done.err}")
            world.true_status()
        if done.code == 2:
            break
        # It had enough, as less was in its way than when it was measured.
        share /= 3
        verb.undo(world)
        prepare(verb, number, world)
    else:
        raise Untrue(f"lago {' '.join(verb.words)} ends well though only {told}")
    if "hint: " not in done.err or not any(word in done.err.lower() for word in ("no space left", "disk is full")):
        raise Untrue(f"lago {' '.join(verb.words)} does not say that the disk is full:\n{done.err}")
    check(verb, world, notes)
    return told
