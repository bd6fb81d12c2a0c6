"""An engine's own words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import ovirtsdk4

from lago.errors import LagoError

from ..errors import EngineError

if TYPE_CHECKING:
    from .machine import EngineVM

_LOG: Final = "/var/log/ovirt-engine/engine.log"
_LINES: Final = "5"


def said(error: ovirtsdk4.Error) -> str:
    """What an engine complains about, in a line."""
    fault = getattr(error, "fault", None)
    words = (fault and (fault.detail or fault.reason)) or str(error)
    return " ".join(words.strip("[]").split())


@contextlib.contextmanager
def refusals(engine: EngineVM) -> Iterator[None]:
    """What the SDK raises in the block is an EngineError."""
    try:
        yield
    except ovirtsdk4.Error as error:
        raise EngineError(f"{engine.name()} does not do what it is asked: {said(error)}") from error


def last_event(engine: EngineVM) -> str:
    """The last event of an engine, in a line; nothing if it can't be asked."""
    try:
        events = engine.get_api(wait=False).system_service().events_service().list(max=1)
    except (ovirtsdk4.Error, LagoError):
        return ""
    return f"last event of {engine.name()}: {described(events[0])}" if events else ""


def described(event: Any) -> str:
    """An event in a line: when, how bad, what."""
    when = f"{event.time:%Y-%m-%d %H:%M:%S} " if event.time else ""
    return f"{when}{event.severity or 'event'}: {event.description}"


def last_words(engine: EngineVM) -> str:
    """The end of the log of an engine that does not answer; nothing if it can't be had."""
    try:
        status = engine.guest.run(["tail", "-n", _LINES, _LOG])
    except LagoError:
        return ""
    text = status.out.decode(errors="replace").strip()
    return f"{_LOG}:\n{text}" if text else ""
