"""Steps of chaos: a verb is begun, something is killed, and the world must be sound."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from ..vm.box import Box, processes
from .instants import Hit, Length, at, before_change, measure
from .verbs import VERBS, Verb
from .world import Untrue, World

LAGO = "Lago"
VICTIMS = {LAGO: 10, "the supervisor": 2, "libvirtd": 2, "a QEMU": 3, "dnsmasq": 1, "an ssh master": 2}
"""What is killed, and how often."""

_TRIES = 5
_PROGRAMS = {"libvirtd": "libvirtd -f", "a QEMU": "qemu-system", "dnsmasq": "dnsmasq", "an ssh master": "ssh"}


@dataclass(frozen=True)
class Step:
    """What is killed during which verb; `share` says at which part of its length, in changes if `counted`."""

    seed: str
    number: int
    verb: Verb
    victim: str
    share: float
    counted: bool
    lot: float

    def __str__(self) -> str:
        return f"step {self.number} of seed {self.seed}: SIGKILL of {self.victim} in `lago {' '.join(self.verb.words)}`"


def step(seed: str, number: int, *, quick: bool, counted: bool) -> Step:
    """The step of this number; all verbs have their turn before one has its second."""
    verbs = [verb for verb in VERBS if not (quick and verb.slow)]
    turn, place = divmod(number, len(verbs))
    Random(f"{seed}/{turn}").shuffle(verbs)
    verb = verbs[place]
    lots = Random(f"{seed}.{number}")
    victims = {name: weight for name, weight in VICTIMS.items() if name not in verb.spared}
    victim = lots.choices([*victims], [*victims.values()])[0] if verb.parts else LAGO
    return Step(seed, number, verb, victim, lots.random(), counted and lots.random() < 0.5, lots.random())


def run(one: Step, world: World, lengths: dict[str, Length]) -> str:
    """Take a step; returns what was killed when.

    Raises:
        Untrue: something was not true afterwards; it says what.
    """
    world.said.clear()
    verb, box = one.verb, one.verb.box(world)
    prepare(verb, one.number, world)
    if verb.name not in lengths:
        lengths[verb.name] = measure(box, [*verb.words]) if not box.user else _timed(box, verb)
        was_done(verb, world)
        prepare(verb, one.number, world)
    before = set(world.notes)
    hit = _hit(one, world, lengths[verb.name])
    told = f"{hit.what} killed after {hit.after:.3f} s of {lengths[verb.name].seconds:.2f} s"
    world.said.append(f"lago {' '.join(verb.words)} -> {hit.code}, {told}")
    if one.victim != LAGO and (hit.code not in (0, 2) or "Traceback" in hit.err):
        raise Untrue(f"{told}: lago ended with {hit.code}, and said\n{hit.err}")
    check(verb, world, before)
    if int(one.lot * 3) == 0:
        world.reverts("warm")
        world.tidy()
    return told


def _timed(box: Box, verb: Verb) -> Length:
    began = time.monotonic()
    box.lago(*verb.words)
    return Length(time.monotonic() - began, 0)


def was_done(verb: Verb, world: World) -> None:
    """See that a verb that was let alone did what it is for, and undo it."""
    world.said.append(f"lago {' '.join(verb.words)} -> 0, in full")
    world.notes = verb.notes(world) or world.notes
    verb.done(world)
    verb.undo(world)


def prepare(verb: Verb, number: int, world: World) -> None:
    """Let all be there that a verb needs, and the number of the step be on the disk of vm0."""
    world.running()
    world.note(f"n{number}")
    verb.ready(world)
    if verb.needs == "down":
        world.down()


def check(verb: Verb, world: World, before: set[str]) -> None:
    """See that all is well after a verb that did not come to its end, and that it works now; then undo it.

    Args:
        before: what the note said before it.

    Raises:
        Untrue: something is not true.
    """
    world.notes = before | verb.notes(world)
    world.true_status()
    needed = verb.needs == "running" and not verb.beside and verb.name not in ("stop", "shutdown", "revert")
    if needed and set(world.states().values()) != {"running"}:
        # What the verb needs may be gone.
        world.works("start")
        world.noted()
    world.works(*verb.words, already=verb.already, box=verb.box(world))
    world.notes = verb.notes(world) or world.notes
    verb.done(world)
    if verb.name not in ("stop", "freeze"):
        world.sound()
    verb.undo(world)
    world.sound()


def _hit(one: Step, world: World, length: Length) -> Hit:
    """Run the verb and kill; again, with its new length, if it was over before."""
    verb, box = one.verb, one.verb.box(world)
    for sooner in range(_TRIES):
        if one.victim == LAGO and one.counted and not box.user:
            hit = before_change(box, [*verb.words], 1 + int(one.share * length.changes))
            length.changes -= length.changes // 10 * hit.missed
        else:
            hit = at(box, [*verb.words], one.share * length.seconds / 2**sooner, _victims(one, box), one.victim)
            if hit.missed and one.victim == LAGO:
                length.seconds = min(length.seconds, hit.after)
        if not hit.missed:
            return hit
        if hit.code not in (0, 2) or "Traceback" in hit.err:
            raise Untrue(f"lago {' '.join(verb.words)} ended with {hit.code}, nothing was killed:\n{hit.err}")
        verb.undo(world)
        prepare(verb, one.number, world)
    raise Untrue(f"{verb.name} is always over before {one.victim} is killed")


def _victims(one: Step, box: Box) -> Callable[[int], list[int]]:
    def find(lago: int) -> list[int]:
        if one.victim == LAGO:
            return [lago]
        try:
            supervisor = box.supervisor()
        except OSError:
            return []
        if supervisor is None or one.victim == "the supervisor":
            return [supervisor] if supervisor else []
        return sorted(_inside(supervisor, _PROGRAMS[one.victim]), key=lambda pid: hash((one.lot, pid)))

    return find


def _inside(supervisor: int, program: str) -> list[int]:
    try:
        namespace = os.readlink(f"/proc/{supervisor}/ns/pid")
    except OSError:
        return []
    found = []
    for pid, command in processes():
        try:
            first, _, rest = command.partition(" ")
            name = f"{os.path.basename(first.rstrip(':'))} {rest}"
            if name.startswith(program) and os.readlink(f"/proc/{pid}/ns/pid") == namespace and _alive(pid):
                found.append(pid)
        except OSError:
            continue
    return found


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
