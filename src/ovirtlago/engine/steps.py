"""Things of an engine, such as its hosts, become something else: chosen by name, and side by side."""

from __future__ import annotations

import operator
from collections.abc import Callable, Container, Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Protocol, TypeVar

from lago.errors import LagoError
from lago.log import task
from lago.utils import in_parallel, near

from . import waiting
from .contract import Engine, Step

if TYPE_CHECKING:
    from ovirtsdk4.service import Service


class Named(Protocol):
    """A thing that an engine has."""

    @property
    def name(self) -> str:
        """What the engine calls it."""


T = TypeVar("T", bound=Named)


def select(found: Iterable[T], names: Iterable[str]) -> list[T]:
    """Return things of an engine by name; all, if none is named.

    Args:
        found: what the engine has.
        names: those that are wanted.

    Raises:
        LagoError: there is none of a name.
    """
    known = {one.name: one for one in found}
    wanted = list(names) or list(known)
    for name in wanted:
        if name not in known:
            raise LagoError(f"the engine has no {name}", hint=near(name, known))
    return [known[name] for name in wanted]


def towards(service: Service, wanted: Enum, action: str, busy: Container[Enum]) -> str:
    """Do a `Step` of a thing that becomes `wanted` by an action of its service, unless it is about to change.

    Args:
        service: the thing, as the SDK has it.
        wanted: the status that it is to get.
        action: the method of the service that brings it there.
        busy: statuses of a thing that is about to become something else.

    Returns:
        What it is yet; nothing when it is as wanted.
    """
    status = service.get().status
    if status == wanted:
        return ""
    if status not in busy:
        getattr(service, action)()
    return f"it is {status}"


def each(
    engine: Engine,
    found: Sequence[T],
    command: str,
    kind: str,
    begin: Callable[[T], Step | None],
    seconds: float,
    title: Callable[[T], str] = operator.attrgetter("name"),
) -> list[str]:
    """Have an engine do the same with several things, side by side, and return when all is done.

    Args:
        engine: whose they are.
        found: the things.
        command: what is done with them, for people, such as `start`.
        kind: what they are, for people, such as `virtual machine`.
        begin: makes the step of a thing when its turn comes; None if it is as wanted already.
        seconds: that each may take.
        title: what a thing is called in an error.

    Returns:
        The names of all.

    Raises:
        EngineError: one did not get there in time.
        Errors: several did not.
    """

    def one(thing: T) -> None:
        step = begin(thing)
        if step is None:
            return
        with task(f"{command.capitalize()} {kind} {thing.name}"):
            waiting.wait_until(engine, f"{command} {kind} {title(thing)}", step, seconds)

    in_parallel(one, found, what=f"{command} {kind}s", cancel=engine.env.cancelled.set)
    return [thing.name for thing in found]
