"""Logging in to an engine."""

from __future__ import annotations

import functools
import os
from typing import Final

import ovirtsdk4
import pycurl

from lago.host.waiting import poll
from lago.log import task

from ..errors import EngineError, EngineNotReady
from . import identity, waiting
from .connection import Connection
from .contract import Engine
from .events import complaint, last_words
from .transport import Transport

_QUICK: Final = 10
_REQUEST: Final = 60
_DENIED: Final = ("access_denied", "invalid_grant")


def log_in(engine: Engine, *, wait: bool, insecure: bool) -> Connection:
    """Log in to an engine, and return a new connection that works.

    Args:
        engine: says who it is, and with which name and password.
        wait: for its machine, its service and an answer; otherwise it is tried once.
        insecure: whether certificates are not verified.

    Raises:
        VMNotRunning, VMNotReady: its machine does not run or answer.
        EngineNotReady: it does not answer; where it is waited for, its service does not run within `long_timeout`, or
            it does not answer within `short_timeout` then.
        EngineError: it is not set up, refuses the password, or is not who it should be.
    """
    if not wait:
        return _attempt(engine, insecure)
    with task(f"Wait for the engine on {engine.name()}"):
        engine.identity()  # An engine that is not set up will not start either.
        engine.wait_for_service(waiting.long(engine))
        timeout = waiting.short(engine)
        try:
            return poll(functools.partial(_attempt, engine, insecure), timeout, engine.env.cancelled, EngineNotReady)
        except EngineNotReady as error:
            raise EngineNotReady(
                f"the engine did not let us in within {timeout:g} s: {error.what}",
                details=last_words(engine),
                hint=f"lago shell {engine.name()}, and look at its log",
            ) from None


def _attempt(engine: Engine, insecure: bool) -> Connection:
    who = engine.identity()
    quick, slow = (seconds * engine.env.accel.time_factor for seconds in (_QUICK, _REQUEST))
    ca_file = None if insecure else identity.fetch_ca(engine, who, quick)
    connection = Connection(
        Transport(engine.dial, ca_file, slow),
        Transport(engine.dial, ca_file, quick),
        f"{who.url}/api",
        username=engine.user(),
        password=engine.password(),
        ca_file=None if ca_file is None else os.fsencode(ca_file),
        insecure=insecure,
        timeout=int(slow),
    )
    try:
        connection.test(raise_exception=True)
    except ovirtsdk4.Error as error:
        connection.close(logout=False)
        raise _explain(engine, who.fqdn, error) from error
    return connection


def _explain(engine: Engine, fqdn: str, error: ovirtsdk4.Error) -> EngineError:
    cause = error.__cause__
    if isinstance(cause, pycurl.error) and cause.args[0] == pycurl.E_PEER_FAILED_VERIFICATION:
        return EngineError(
            f"the certificate of the engine on {engine.name()} can't be trusted: {cause.args[1]}",
            details=f"it must be for {fqdn} and signed by {identity.CA_FILE}",
            hint="metadata ovirt-engine-insecure: true of its machine leaves out the check",
        )
    words = complaint(error)
    if isinstance(error, ovirtsdk4.AuthError) and (error.code in (401, 403) or any(word in words for word in _DENIED)):
        return EngineError(
            f"the engine on {engine.name()} does not let {engine.user()} in: {words}",
            hint="its password belongs into the metadata of its machine: ovirt-engine-password",
        )
    return EngineNotReady(f"{engine.name()} does not answer: {words}")
