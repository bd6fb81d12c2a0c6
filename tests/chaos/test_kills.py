"""Lago, or a part of what it runs, killed at a random instant of each verb that changes something.

`LAGO_TEST_CHAOS` is the seed, so a failure is seen again by what it says.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..users import User
from ..vm.box import Box
from .instants import Length
from .steps import run, step
from .world import World

QUICK = 6
ALL = 200
_USERS = 4
"""One in so many steps is an ordinary user's, where root runs the tests."""

Worlds = Callable[[bool], tuple[World, dict[str, Length]]]


class _Worlds:
    """The worlds of root and of an ordinary user, made when they are wanted."""

    def __init__(self, make: Callable[[bool], World]) -> None:
        self._make = make
        self._there: dict[bool, World] = {}
        self.lengths: dict[bool, dict[str, Length]] = {True: {}, False: {}}

    def get(self, user: bool) -> World:
        if user not in self._there:
            self._there[user] = self._make(user)
        return self._there[user]

    def drop(self, user: bool) -> None:
        self._there.pop(user).give_up()

    def end(self) -> None:
        for world in self._there.values():
            world.end()


@pytest.fixture(scope="module")
def worlds(request: pytest.FixtureRequest, mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Worlds]:
    """Worlds that `destroy` must end in the end."""

    def make(user: bool) -> World:
        if not user:
            return World(Box(tmp_path_factory.mktemp("chaos")))
        somebody: User = request.getfixturevalue("throwaway_user")
        return World(Box.of_user(somebody, mini, f"chaos-{os.urandom(3).hex()}"))

    made = _Worlds(make)
    yield made
    made.end()


@pytest.mark.parametrize(
    "number", [pytest.param(n, id=f"step-{n}", marks=pytest.mark.slow if n >= QUICK else ()) for n in range(ALL)]
)
def test_a_kill_at_any_instant_harms_nothing(worlds: _Worlds, seed: str, number: int) -> None:
    user = os.geteuid() == 0 and number % _USERS == _USERS - 1
    one = step(seed, number, quick=number < QUICK, counted=not user)
    world = worlds.get(user)
    try:
        world.make()
        print(run(one, world, worlds.lengths[user]))
    except Exception as error:
        said = "\n".join(world.said)
        who = "an ordinary user" if user else "the user of the tests"
        error.add_note(f"{one}, as {who}\nagain: LAGO_TEST_CHAOS={seed} ... -k 'step-{number}'\nwhat was run:\n{said}")
        worlds.drop(user)
        raise
