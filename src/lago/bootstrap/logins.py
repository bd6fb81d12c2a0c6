"""As whom, by which key or password, and over which connection a guest is logged in to."""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from .. import config
from ..guest.ssh import Guest
from ..host import trust
from ..host.ssh_option import quote
from ..hypervisor import Hypervisor, rundir
from ..paths import Paths
from ..plugins.contracts import Login
from ..topology.model import Domain

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
    known = password(domain)
    return Guest(
        name=domain.name,
        user=user(domain),
        password=known.text if known else None,
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
        password=login.password,
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


def password(domain: Domain) -> Password | None:
    """The password to try: that of the init file, else of the template, else config `ssh_password`."""
    image = domain.image
    known = [(domain.ssh_password, "the ssh-password of the init file")]
    if user(domain) == _ROOT:
        known.append((domain.root_password, _whose(domain)))
    known.append((image.get("ssh-password"), "the ssh-password of the template"))
    if user(domain) == _ROOT:
        known.append((image.get("root-password"), "the root-password of the template"))
    known.append((config.get("ssh_password"), "the ssh_password of the configuration"))
    # Metadata of templates may have numbers.
    return next((Password(str(text), source) for text, source in known if text not in (None, "")), None)


def _whose(domain: Domain) -> str:
    """Where the root password of a machine is from, which has that of the configuration if nothing else is said."""
    if domain.root_password == config.get("default_root_password"):
        return "the root password (default_root_password of the configuration)"
    return "the root-password of the init file"
