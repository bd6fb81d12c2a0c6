"""Systemd credentials in SMBIOS strings, for guests with systemd 252 or later.

The credential `tmpfiles.extra` has lines for systemd-tmpfiles, which runs early in every boot.
"""

from __future__ import annotations

import base64

from ..paths import Paths
from ..topology import Domain
from . import Additions

_CREDENTIAL = "io.systemd.credential.binary:"


def prepare(_domain: Domain, _paths: Paths, _public_key: str) -> None:
    """Nothing to prepare: all is in the definition of the machine."""


def additions(domain: Domain, _paths: Paths, public_key: str) -> Additions:
    """The name of the machine and the key of its root."""
    key = _base64(public_key.strip())
    lines = [
        f"f+~ /etc/hostname 0644 root root - {_base64(domain.name)}",
        f"w /proc/sys/kernel/hostname - - - - {domain.name}",
        "d /root/.ssh 0700 root root -",
        f"f+~ /root/.ssh/authorized_keys 0600 root root - {key}",
    ]
    text = "\n".join(lines)
    return Additions(oem_strings=(f"{_CREDENTIAL}tmpfiles.extra={_base64(text)}",))


def _base64(text: str) -> str:
    return base64.b64encode(f"{text}\n".encode()).decode()
