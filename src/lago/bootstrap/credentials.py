"""Systemd credentials in SMBIOS strings, for guests with systemd 252 or later.

The credential `tmpfiles.extra` has lines for systemd-tmpfiles, which runs early in every boot.
"""

from __future__ import annotations

import base64

from ..errors import VMError
from ..paths import Paths
from ..topology.model import Domain
from .additions import Additions

_CREDENTIAL = "io.systemd.credential.binary:"
_END = "\n"
_MOST = 60_000
"""Bytes; a table of SMBIOS 2 has at most 64 KiB, and there are others."""


def prepare(_domain: Domain, _paths: Paths, _public_key: str) -> None:
    """Do nothing: all is in the definition of the machine."""


def additions(domain: Domain, _paths: Paths, public_key: str) -> Additions:
    """The name of the machine, the keys of root and of the user who logs in, who is made if need be, and files.

    Raises:
        VMError: that is more than the tables hold.
    """
    name = f"{domain.host_name}\n"
    lines = [
        f"f+~ /etc/hostname 0644 root root - {_base64(name)}",
        f"w /proc/sys/kernel/hostname - - - - {domain.host_name}",
        *_key("root", "/root", public_key),
    ]
    credentials = {}
    if (user := domain.ssh_user) not in (None, "root"):
        home = f"/home/{user}"
        lines += [f"d {home} 0700 {user} {user} -", *_key(str(user), home, public_key)]
        lines.append(f"f+~ /etc/sudoers.d/lago 0440 root root - {_base64(f'{user} ALL=(ALL) NOPASSWD:ALL{_END}')}")
        credentials["sysusers.extra"] = f'u {user} - "{user}" {home} /bin/bash\n'
    for path, one in domain.files.items():
        lines.append(f"f+~ {path} {one.permissions} root root - {_base64(one.content)}")
    credentials["tmpfiles.extra"] = "\n".join([*lines, ""])
    strings = tuple(f"{_CREDENTIAL}{key}={_base64(text)}" for key, text in credentials.items())
    if (size := sum(map(len, strings))) > _MOST:
        raise VMError(
            f"the files of {domain.name} make up {size} bytes of credentials, more than {_MOST}",
            hint="make them smaller, or write bootstrap: cloud-init or virt-sysprep",
        )
    return Additions(oem_strings=strings)


def _key(user: str, home: str, public_key: str) -> list[str]:
    content = _base64(f"{public_key.strip()}{_END}")
    return [
        f"d {home}/.ssh 0700 {user} {user} -",
        f"f+~ {home}/.ssh/authorized_keys 0600 {user} {user} - {content}",
    ]


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
