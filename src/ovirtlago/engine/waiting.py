"""Bounded waits for an engine, which has no way to tell us when something is done.

The settings `short_timeout` and `long_timeout` of the section `ovirt` are the seconds that quick steps may take (a host
that comes up) and slow ones (a storage domain, the engine itself). They are multiplied as those of Lago where machines
are emulated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lago import config
from lago.host.waiting import poll

from ..constants import LONG_TIMEOUT, SHORT_TIMEOUT
from ..errors import EngineError, EngineNotReady
from .contract import Engine, Machine, Step

if TYPE_CHECKING:
    from ovirtsdk4 import Connection


def short(engine: Machine) -> float:
    """Return the seconds that a quick step of an engine may take. Raises ConfigError."""
    return _setting("short_timeout", SHORT_TIMEOUT) * engine.env.accel.time_factor


def long(engine: Machine) -> float:
    """Return the seconds that a slow step of an engine may take. Raises ConfigError."""
    return _setting("long_timeout", LONG_TIMEOUT) * engine.env.accel.time_factor


def _setting(key: str, default: int) -> float:
    found = config.find(key, "ovirt")
    return default if found is None else config.read(found, key, seconds, "seconds")


def seconds(text: str) -> float:
    """Return a time in seconds as a person writes it, a number above 0. Raises ValueError."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise ValueError("expected a number above 0")
    return value


def wait_until(engine: Engine, what: str, step: Step, timeout: float) -> None:
    """Return when a step on an engine is done.

    Args:
        engine: is asked for a connection, and for a new one if that breaks.
        what: the step, for people.
        step: is done again and again until it is done. What the engine refuses is tried again too.
        timeout: seconds.

    Raises:
        EngineError: it was not done in time; says why, with the engine's last event.
    """
    from ovirtsdk4 import AuthError, Error

    from .events import complaint, last_event

    api: Connection | None = None

    def attempt() -> None:
        nonlocal api
        try:
            api = api or engine.get_api(wait=False)
            reason = step(api)
        except AuthError as error:
            raise EngineError(f"{engine.name()} does not let us: {complaint(error)}") from error
        except Error as error:
            reason = complaint(error)
            if error.fault is None:
                # It is not the engine that says so, the connection may be gone.
                api = None
        if reason:
            raise EngineNotReady(reason)

    try:
        poll(attempt, timeout, engine.env.cancelled, EngineNotReady)
    except EngineNotReady as error:
        raise EngineError(
            f"{what}: not done within {timeout:g} s: {error.what}",
            details=last_event(engine),
            hint="lago ovirt status; the times are short_timeout and long_timeout of the section ovirt",
        ) from None
