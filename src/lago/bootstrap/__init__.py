"""How a machine learns its name and who may log in.

The init file or the template's metadata names the way, `bootstrap`: `cloud-init` by a NoCloud seed disk, `credentials`
by systemd credentials in the firmware's tables, both without a change to its disk; `virt-sysprep` by such a change; or
`none`. `prepare` is called once, when the environment is made;
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
    """A command, and its input, that the user who logs in must run once the machine answers."""
    passwords = {"root": domain.root_password, domain.ssh_user or "root": domain.ssh_password or domain.root_password}
    given = {user: password for user, password in passwords.items() if password is not None}
    if not given or _name(domain) != "credentials":
        return None
    # Systemd sets passwords of users that it makes at its first boot, and root is there.
    from .passwords import hashed

    lines = "".join(f"{user}:{hashed(password)}\n" for user, password in given.items())
    return ["sh", "-c", _SET_PASSWORDS], lines.encode()


_SET_PASSWORDS = """\
test "$(id -u)" = 0 && exec chpasswd -e
command -v sudo >/dev/null || exit 0
exec sudo -n chpasswd -e
"""
"""Without sudo other users can't, and then log in by key alone."""


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
    if name == "virt-sysprep":
        from . import sysprep

        return sysprep
    if name == "none":
        from . import none

        return none
    raise TemplateError(
        f"the template of {domain.name} asks for the unknown bootstrap method {name}",
        hint="known methods are: cloud-init, credentials, virt-sysprep, none",
    )
