"""What the host must have for firmware, TPMs and shared directories, told before libvirt stumbles."""

from __future__ import annotations

import contextlib
import glob
import os
from typing import Final

from ..errors import HostError, VMError
from ..host.programs import which
from ..hypervisor import Hypervisor
from ..topology.model import Domain
from .domain_xml import kernel

_FIRMWARE: Final = (
    "/etc/qemu/firmware/*.json",
    "/usr/share/qemu/firmware/*.json",
    "/usr/local/share/qemu/firmware/*.json",
)
_VHOST_USER: Final = ("/etc/qemu/vhost-user/*.json", "/usr/share/qemu/vhost-user/*.json")

_UEFI_PROGRAM: Final = b"MZ"


def check(domain: Domain, hypervisor: Hypervisor) -> None:
    """Raise HostError or VMError if the machine can't run as it is described; elsewhere than here libvirt must tell."""
    if not hypervisor.local:
        if domain.shares:
            raise VMError(
                f"{domain.name} can't share directories of this host: its hypervisor is another", hint="remove shares"
            )
        return
    if domain.firmware == "uefi":
        if not _any(_FIRMWARE):
            raise HostError(f"{domain.name} needs UEFI firmware, which is not installed", hint="apt-get install ovmf")
        _check_kernel(domain)
    if domain.tpm and not (which("swtpm") and which("swtpm_setup")):
        raise HostError(
            f"{domain.name} needs the program swtpm, which is not installed", hint="apt-get install swtpm swtpm-tools"
        )
    if domain.shares and not _any(_VHOST_USER):
        raise HostError(
            f"{domain.name} shares directories, and the program virtiofsd is not installed",
            hint="apt-get install virtiofsd, or qemu-system-common before Debian 13",
        )
    for share in domain.shares:
        if not os.path.isdir(share.path):
            raise VMError(f"{domain.name} shares {share.path}, which is no directory", hint="make it, or correct it")


def _check_kernel(domain: Domain) -> None:
    """Raise VMError for a kernel that is no UEFI program: the firmware would not start it, and say nothing."""
    if (path := kernel(domain)) is None:
        return
    with contextlib.suppress(OSError), open(path, "rb") as file:
        if file.read(len(_UEFI_PROGRAM)) != _UEFI_PROGRAM:
            raise VMError(
                f"{domain.name} has firmware: uefi, which can't start the kernel {path}",
                hint="lago init again, if its template was built by an earlier Lago; or firmware: bios",
            )


def _any(patterns: tuple[str, ...]) -> bool:
    return any(glob.glob(pattern) for pattern in patterns)
