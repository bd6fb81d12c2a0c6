"""As whom, by which key or password, and over which connection a guest is logged in to."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final, NamedTuple

from .. import config
from ..guest.ssh import Guest
from ..host import trust
from ..host.ssh_option import quote
from ..hypervisor import Hypervisor, rundir
from ..paths import Paths
from ..plugins.contracts import Login
from ..topology.model import Domain
from . import method

_ROOT: Final = "root"


class Password(NamedTuple):
    """A password, and whose it is in words."""

    text: str
    source: str


def guest_of(domain: Domain, number: int, paths: Paths, hypervisor: Hypervisor) -> Guest:
    """Return how to log in to a machine on the nets of its environment.

    Args:
        number: its place among the machines of the environment.
        paths: of the environment.
        hypervisor: where its nets are.
    """
    return Guest(
        name=domain.name,
        user=user(domain),
        passwords=tuple(one.text for one in passwords(domain)),
        address=domain.ip or "",
        key=paths.ssh_id_rsa(),
        control=os.path.join(hypervisor.socket_dir(), f"ssh-{number}"),
        wrap=hypervisor.command,
    )


def guest_outside(domain: Domain, number: int, paths: Paths, login: Login) -> Guest:
    """Return how to log in to a machine that is elsewhere, over this host's network.

    It is no newcomer as guests of an environment are, so it must be known: `ssh-keyscan`, or a login by hand before.

    Args:
        number: its place among the machines of the environment.
        paths: of the environment.
        login: what its provider says.
    """
    settings = {"StrictHostKeyChecking": "yes", "LogLevel": "ERROR", "Port": str(login.port)}
    if login.known_hosts is not None:
        settings["UserKnownHostsFile"] = quote(login.known_hosts)
    sockets = outside_sockets(paths)
    rundir.make(sockets)
    return Guest(
        name=domain.name,
        user=login.user or user(domain),
        passwords=() if login.password is None else (login.password,),
        address=login.address,
        key=login.key or paths.ssh_id_rsa(),
        control=os.path.join(sockets, f"ssh-{number}"),
        wrap=list,
        settings=settings,
        outside=True,
    )


def outside_sockets(paths: Paths) -> str:
    """Return the directory of the sockets of connections to machines elsewhere."""
    return rundir.place(trust.read_uuid(paths.uuid()), outside=True)


def user(domain: Domain) -> str:
    """The user to log in as: that of the init file, of the configuration, of the template, or root."""
    return domain.ssh_user or config.get("ssh_user", None) or domain.image.get("ssh-user") or _ROOT


def passwords(domain: Domain) -> tuple[Password, ...]:
    """The passwords to try, in this order: those of the init file, of the template, and config `ssh_password`.

    What a template says of root holds only until the machine is prepared, by which root gets another password.
    """
    as_root = user(domain) == _ROOT
    known = [(domain.ssh_password, "the ssh-password of the init file")]
    if as_root:
        known.append((domain.root_password, _whose(domain)))
    if not as_root or method(domain) == "none":
        known.append((domain.image.get("ssh-password"), "the ssh-password of the template"))
    if as_root and method(domain) == "none":
        known.append((domain.image.get("root-password"), "the root-password of the template"))
    known.append((config.get("ssh_password"), "the ssh_password of the configuration"))
    found: dict[str, str] = {}
    for text, source in known:
        if text not in (None, ""):
            # Metadata of templates may have numbers.
            found.setdefault(str(text), source)
    return tuple(Password(text, source) for text, source in found.items())


def root_password(domain: Domain) -> str | None:
    """The password that root gets when a machine is prepared; None if nothing prepares it and no init file says it.

    It is that of the init file, also as the one to log in by as root, else config `default_root_password`.
    """
    if domain.root_password is not None or method(domain) == "none":
        return domain.root_password
    own = domain.ssh_password if user(domain) == _ROOT else None
    return own or str(config.get("default_root_password"))


def secrets(domains: Iterable[Domain]) -> list[str]:
    """The passwords of machines, and of the configuration if they are not those that everybody has."""
    found = [text for domain in domains for text in (domain.root_password, domain.ssh_password)]
    names = ("ssh_password", "default_root_password", "libvirt_password")
    found += [said for name in names if (said := config.get(name)) != config.OPTIONS[name].default]
    return [str(text) for text in found if text]


def _whose(domain: Domain) -> str:
    """Where the root password of a machine is from, which has that of the configuration if nothing else is said."""
    if domain.root_password == config.get("default_root_password"):
        return "the root password (default_root_password of the configuration)"
    return "the root-password of the init file"
