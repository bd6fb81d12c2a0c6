"""libvirt's errors as ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import libvirt

from ..errors import HypervisorError


@contextlib.contextmanager
def refusals(what: str, hint: str = "lago doctor tells what the host lacks") -> Iterator[None]:
    """Raise HypervisorError with `what` before libvirt's own words when libvirt refuses."""
    try:
        yield
    except libvirt.libvirtError as error:
        raise HypervisorError(f"{what}: {error.get_error_message() or error}", hint=hint) from error


def create(thing: libvirt.virDomain | libvirt.virNetwork) -> None:
    """Start a machine or a network, unless somebody is quicker: a killed Lago's last request is still fulfilled."""
    try:
        thing.create()
    except libvirt.libvirtError:
        if not thing.isActive():
            raise
