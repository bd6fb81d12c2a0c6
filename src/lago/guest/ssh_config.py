"""An environment as ssh_config(5), for ssh and all that uses it."""

from __future__ import annotations

from collections.abc import Iterable

from ..host.ssh_option import quote
from ..hypervisor import proxy
from .ssh import Guest


def config(guests: Iterable[Guest], prefix: str, *, private: bool) -> str:
    """A block for each guest that has an address.

    Args:
        prefix: path of the environment.
        private: whether guests are reached through its own hypervisor, in place of the host's network.
    """
    return "\n".join(_block(guest, prefix, private=private) for guest in guests if guest.address)


def _block(guest: Guest, prefix: str, *, private: bool) -> str:
    settings = {
        "HostName": guest.address,
        "User": guest.user,
        "IdentityFile": quote(guest.key),
        "IdentitiesOnly": "yes",
        **guest.settings,
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "3",
    }
    if private and not guest.outside:
        settings["ProxyCommand"] = proxy.command(prefix)
    return "".join([f"Host {guest.name}\n", *(f"    {key} {value}\n" for key, value in settings.items())])
