"""As whom, and by which password, a guest is logged in to that does not take our key."""

from __future__ import annotations

from typing import Final, NamedTuple

from .. import config
from ..topology.model import Domain

_ROOT: Final = "root"


class Password(NamedTuple):
    """A password, and whose it is in words."""

    text: str
    source: str


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
