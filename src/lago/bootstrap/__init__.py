"""How a machine learns its name and who may log in, without a change to its disk.

The init file or the template's metadata names the way, `bootstrap`: `cloud-init` by a NoCloud seed disk, `credentials`
by systemd credentials in the firmware's tables, or `none`. `prepare` is called once, when the environment is made;
`additions` says, each time the machine is defined, what its definition needs; `after_boot` what is still to do by ssh.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..errors import TemplateError
from ..paths import Paths
from ..topology import Domain

__all__ = ["Additions", "SeedDisk", "additions", "after_boot", "prepare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedDisk:
    """A disk for the machine to read, by virtio and after all its own; `path` is absolute."""

    path: str
    format: str = "raw"
    readonly: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Additions:
    """What the definition of a machine needs besides the topology; `oem_strings` are of SMBIOS type 11."""

    disks: tuple[SeedDisk, ...] = ()
    oem_strings: tuple[str, ...] = ()


class _Method(Protocol):
    def prepare(self, domain: Domain, paths: Paths, public_key: str, /) -> None: ...

    def additions(self, domain: Domain, paths: Paths, public_key: str, /) -> Additions: ...


def prepare(domain: Domain, paths: Paths, public_key: str) -> None:
    """Write what must be on disk before the machine is defined.

    Args:
        public_key: a line as in `authorized_keys`.
    """
    _method(domain).prepare(domain, paths, public_key)


def additions(domain: Domain, paths: Paths, public_key: str) -> Additions:
    """What the machine's definition needs."""
    return _method(domain).additions(domain, paths, public_key)


def after_boot(domain: Domain) -> tuple[list[str], bytes] | None:
    """A command, and its input, that root of the machine must run once it answers."""
    if domain.root_password is None or _name(domain) != "credentials":
        return None
    # Systemd sets passwords of users that it makes, and root is there.
    from .passwords import hashed

    return ["chpasswd", "-e"], f"root:{hashed(domain.root_password)}\n".encode()


def _name(domain: Domain) -> str:
    return domain.bootstrap or str(domain.image.get("bootstrap", "none"))


def _method(domain: Domain) -> _Method:
    name = _name(domain)
    if name == "cloud-init":
        from . import cloud_init

        return cloud_init
    if name == "credentials":
        from . import credentials

        return credentials
    if name == "none":
        from . import none

        return none
    raise TemplateError(
        f"the template of {domain.name} asks for the unknown bootstrap method {name}",
        hint="known methods are: cloud-init, credentials, none",
    )
