"""libvirt's errors as ours."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import libvirt

from ..errors import HypervisorError

T = TypeVar("T")


@contextlib.contextmanager
def refusals(what: str, hint: str = "lago doctor tells what the host lacks") -> Iterator[None]:
    """Raise HypervisorError with `what` before libvirt's own words when libvirt refuses."""
    try:
        yield
    except libvirt.libvirtError as error:
        raise HypervisorError(f"{what}: {error.get_error_message() or error}", hint=hint) from error


@contextlib.contextmanager
def unless_gone() -> Iterator[None]:
    """For the end of a machine: that libvirt has forgotten it meanwhile is no failure."""
    try:
        yield
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise


def look_up(find: Callable[[str], T], name: str, missing: int) -> T | None:
    """What libvirt has of that name, if it has it.

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
    """Start a machine or a network, unless somebody is quicker: a killed Lago's last request is still fulfilled."""
    try:
        thing.create()
    except libvirt.libvirtError:
        if not thing.isActive():
            raise
