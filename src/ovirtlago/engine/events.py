"""An engine's own words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import ovirtsdk4
from ovirtsdk4.types import Event

from lago.errors import LagoError

from ..constants import SHORT_TIMEOUT
from ..errors import EngineError
from .contract import Engine, Machine

_LOG: Final = "/var/log/ovirt-engine/engine.log"
_LINES: Final = "5"


def complaint(error: ovirtsdk4.Error) -> str:
    """Return what an engine complains about by an error of the SDK, in a line."""
    fault = getattr(error, "fault", None)
    words = (fault and (fault.detail or fault.reason)) or str(error)
    return " ".join(words.strip("[]").split())


@contextlib.contextmanager
def refusals(engine: Machine) -> Iterator[None]:
    """Context manager: raise what the SDK raises in the block as EngineError, with the name of the engine's machine."""
    try:
        yield
    except ovirtsdk4.Error as error:
        raise EngineError(f"{engine.name()} does not do what it is asked: {complaint(error)}") from error


def last_event(engine: Engine) -> str:
    """Return the last event of an engine, in a line; nothing if it can't be asked, which is tried once."""
    try:
        events = engine.get_api(wait=False).system_service().events_service().list(max=1)
    except (ovirtsdk4.Error, LagoError):
        return ""
    return f"last event of {engine.name()}: {describe(events[0])}" if events else ""


def describe(event: Event) -> str:
    """Return an event of an engine in a line: when, how bad, what."""
    when = f"{event.time:%Y-%m-%d %H:%M:%S} " if event.time else ""
    return f"{when}{event.severity or 'event'}: {event.description}"


def last_words(engine: Machine) -> str:
    """Return the end of the log on the machine of an engine that does not answer; nothing if it can't be had."""
    try:
        status = engine.guest.run(["tail", "-n", _LINES, _LOG], timeout=SHORT_TIMEOUT)
    except LagoError:
        return ""
    text = status.text.strip()
    return f"{_LOG}:\n{text}" if text else ""
