"""Connections to libvirt, also to one that asks who we are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import libvirt

from .. import config
from ..errors import Errors, HypervisorError
from ..log import LOG

_NAMES = (libvirt.VIR_CRED_AUTHNAME, libvirt.VIR_CRED_USERNAME)
_SECRETS = (libvirt.VIR_CRED_PASSPHRASE, libvirt.VIR_CRED_NOECHOPROMPT)


def connect(uri: str) -> libvirt.virConnect:
    """Connect to libvirt; config `libvirt_user` and `libvirt_password` answer what it asks. Raises HypervisorError."""
    user, password = config.get("libvirt_user"), config.get("libvirt_password")
    asked: list[str] = []

    def answer(questions: list[list[object]], _data: object) -> int:
        for question in questions:
            kind = question[0]
            value = user if kind in _NAMES else password if kind in _SECRETS else None
            if value is None:
                asked.append("a user name" if kind in _NAMES else "a password")
                return -1
            question[4] = value
        return 0

    # libvirt would print every error, also those that are answers.
    libvirt.registerErrorHandler(lambda _context, error: LOG.debug("libvirt: %s", error[2]), None)
    try:
        return libvirt.openAuth(uri, [[*_NAMES, *_SECRETS], answer, None], 0)
    except libvirt.libvirtError as error:
        hint = "is libvirtd running, and may you use it? --libvirt_url private, the default, needs neither"
        if asked:
            hint = f"it asks for {' and '.join(asked)}: set --libvirt-user and --libvirt-password"
        elif user and error.get_error_code() in (libvirt.VIR_ERR_AUTH_FAILED, libvirt.VIR_ERR_AUTH_CANCELLED):
            hint = "it refuses --libvirt-user and --libvirt-password"
        raise HypervisorError(f"no connection to libvirt at {uri}: {error}", hint=hint) from error


T = TypeVar("T")

ENDED: Final = "lago status tells what runs; it may have ended just now"
"""What to do about a libvirt that answered a moment ago."""


@contextlib.contextmanager
def refusals(what: str, hint: str = "lago doctor tells what the host lacks") -> Iterator[None]:
    """Context manager: what libvirt refuses raises HypervisorError, with `what` before libvirt's own words."""
    try:
        yield
    except libvirt.libvirtError as error:
        raise _refused(error, what, hint) from error
    except Errors as error:
        if not any(isinstance(one, libvirt.libvirtError) for one in error.errors):
            raise
        told = [_refused(one, what, hint) if isinstance(one, libvirt.libvirtError) else one for one in error.errors]
        raise Errors(error.what, told) from error


def _refused(error: libvirt.libvirtError, what: str, hint: str) -> HypervisorError:
    told = HypervisorError(f"{what}: {error.get_error_message() or error}", hint=hint)
    told.__cause__ = error
    return told


@contextlib.contextmanager
def unless_gone() -> Iterator[None]:
    """Context manager: a machine is ended; that libvirt has forgotten it meanwhile is no failure."""
    try:
        yield
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise


def look_up(find: Callable[[str], T], name: str, missing: int) -> T | None:
    """Look up what libvirt has of that name; None if it has nothing.

    Args:
        find: a method of a connection, such as `lookupByName`.
        missing: the code of libvirt's error that says that there is nothing.
    """
    for _ in range(3):
        try:
            return find(name)
        except libvirt.libvirtError as error:
            if error.get_error_code() == missing:
                return None
            # The reason gets lost when another of libvirt's objects is freed just then.
            if error.get_error_code() is not None:
                raise
    return find(name)


def create(thing: libvirt.virDomain | libvirt.virNetwork) -> None:
    """Start a machine or a net, unless somebody is quicker: a killed Lago's last request is still fulfilled."""
    try:
        thing.create()
    except libvirt.libvirtError:
        if not thing.isActive():
            raise
