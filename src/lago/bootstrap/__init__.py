"""How a machine learns its name and who may log in.

The init file or the template's metadata names the way, `bootstrap`: `cloud-init` by a NoCloud seed disk, `credentials`
by systemd credentials in the firmware's tables, both without a change to its disk; `virt-sysprep` by such a change; or
`none`. If neither does, a disk with something on it is prepared by virt-sysprep, as earlier releases did.

`prepare` is called once, when the environment is made; `additions` says, each time the machine is defined, what its
definition needs; `after_boot` what is still to do by ssh.
"""

from __future__ import annotations

from typing import Protocol

from ..errors import TemplateError
from ..paths import Paths
from ..topology.model import Domain
from .additions import Additions, SeedDisk

__all__ = ["Additions", "SeedDisk", "additions", "after_boot", "method", "prepare", "works_at_first_boot"]


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
    """Additions to the definition of a machine."""
    return _method(domain).additions(domain, paths, public_key)


def after_boot(domain: Domain) -> tuple[list[str], bytes] | None:
    """Command, and its input, that the user who logs in must run once the machine answers; None if there is none."""
    # A user who can do all by sudo gets no password that nobody gave him. Root's is the one that is told.
    passwords = {domain.ssh_user or "root": domain.ssh_password}
    if domain.root_password is not None:
        passwords["root"] = domain.root_password
    given = {user: password for user, password in passwords.items() if password is not None}
    if not given or method(domain) != "credentials":
        return None
    # Systemd sets passwords of users that it makes at its first boot, and root is there.
    from .passwords import hash_of

    lines = "".join(f"{user}:{hash_of(password)}\n" for user, password in given.items())
    return ["sh", "-c", _SET_PASSWORDS], lines.encode()


_SET_PASSWORDS = """\
test "$(id -u)" = 0 && exec chpasswd -e
command -v sudo >/dev/null || exit 0
exec sudo -n chpasswd -e
"""
"""Without sudo other users can't, and then log in by key alone."""


def method(domain: Domain) -> str:
    """The way of a machine by its name."""
    said = domain.bootstrap or domain.image.get("bootstrap")
    if said is False:
        return "none"
    if said not in (None, True):
        return str(said)
    first = domain.disks[0] if domain.disks else None
    return "none" if first is None or first.type == "empty" or first.format == "iso" else "virt-sysprep"


def works_at_first_boot(domain: Domain) -> bool:
    """Whether the guest has something to do when it first boots, before which it may let nobody in."""
    options = (option for disk in domain.disks for step in disk.build for one in step.values() for option in one)
    if any(option.startswith("firstboot") for option in options):
        return True
    from . import sysprep

    return method(domain) == "virt-sysprep" and sysprep.labels_at_first_boot(domain)


def _method(domain: Domain) -> _Method:
    name = method(domain)
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
