"""Bridges of this host, by `ip link`. Making and removing them needs the right to administer the network."""

from __future__ import annotations

from .errors import CommandError, HostError
from .host.programs import run

_REMEDY = "run Lago as root, or have somebody who may make the bridge: ip link add NAME type bridge"


def _brctl(*args: str) -> None:
    try:
        run(["ip", "link", *args])
    except CommandError as error:
        if "not permitted" in error.details:
            error.hint = _REMEDY
        raise


def _set_link(name: str, state: str) -> None:
    _brctl("set", "dev", name, state)


def create(name: str, stp: bool = True) -> None:
    """Make a bridge and bring it up; one that is there already is brought up.

    Raises:
        HostError: there is something else of that name.
        CommandError: the kernel refuses.
    """
    try:
        _brctl("add", "name", name, "type", "bridge", "stp_state", "1" if stp else "0")
    except CommandError:
        # Somebody else may have made it this very moment, so it is no use to ask beforehand.
        if not exists(name):
            if _is_there(name):
                raise HostError(f"{name} is a network interface of another kind", hint="choose another name") from None
            raise
        _brctl("set", "dev", name, "type", "bridge", "stp_state", "1" if stp else "0")
    _set_link(name, "up")


def destroy(name: str) -> None:
    """Take a bridge down and remove it. Raises CommandError, also if there is none."""
    _set_link(name, "down")
    _brctl("delete", "dev", name, "type", "bridge")


def exists(name: str) -> bool:
    """Whether there is a bridge of that name."""
    found = run(["ip", "-o", "link", "show", "type", "bridge"], check=False)
    # 3: br0: <BROADCAST,...>, or br0@if5 for one with a parent.
    return any(line.split(": ")[1].partition("@")[0] == name for line in found.text.splitlines())


def _is_there(name: str) -> bool:
    return not run(["ip", "link", "show", "dev", name], check=False)
