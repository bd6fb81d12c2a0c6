"""By virt-sysprep: the machine's first disk is changed before it first starts, whatever is on it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from .. import sysprep
from ..guestfs import programs
from ..paths import Paths
from ..topology.model import Domain
from .additions import Additions


def prepare(domain: Domain, paths: Paths, _public_key: str) -> None:
    """Change the first disk; one that is empty or a CD stays as it is."""
    if not domain.disks or domain.disks[0].type == "empty" or domain.disks[0].format == "iso":
        return
    disk = os.path.join(paths.prefix(), domain.disks[0].path)
    sysprep.sysprep(disk, mods(domain, paths), domain.disks[0].format)


def mods(domain: Domain, paths: Paths) -> list[sysprep.Mod]:
    """Changes of the disk."""
    return [*_everywhere(domain, paths), *_by_distro(domain), *_files(domain)]


def additions(_domain: Domain, _paths: Paths, _public_key: str) -> Additions:
    """No additions: all is on the disk."""
    return Additions()


def labels_at_first_boot(domain: Domain) -> bool:
    """Whether SELinux lets nobody in by key before the first boot has labelled it."""
    return _distro(domain) == "fc23"


def _everywhere(domain: Domain, paths: Paths) -> Iterator[sysprep.Mod]:
    key = paths.ssh_id_rsa_pub()
    yield sysprep.set_hostname(domain.host_name)
    yield sysprep.add_ssh_key(key, with_restorecon_fix=labels_at_first_boot(domain))
    if password := domain.root_password or domain.ssh_password:
        yield sysprep.set_root_password(password)
    if domain.ssh_user not in (None, "root"):
        yield ("--ssh-inject", f"{domain.ssh_user}:{programs.key_selector(key)}")
        if domain.ssh_password:
            yield ("--password", f"{domain.ssh_user}:password:{domain.ssh_password}")


_GRUB = "test ! -f /etc/default/grub || sed -i 's/^GRUB_TIMEOUT=.*/GRUB_TIMEOUT=0/' /etc/default/grub"
_GRUB2 = f"{_GRUB}; test ! -f /boot/grub2/grub.cfg || sed -i 's/set timeout=5/set timeout=0/' /boot/grub2/grub.cfg"
_GRUB_DEBIAN = f"{_GRUB}; test ! -f /boot/grub/grub.cfg || sed -i 's/set timeout=5/set timeout=0/' /boot/grub/grub.cfg"
_WANTED = "/etc/systemd/system/multi-user.target.wants"
_SLOW = f"rm -f {_WANTED}/kdump.service {_WANTED}/postfix.service"


def _by_distro(domain: Domain) -> Iterator[sysprep.Mod]:
    """Changes that guests of some distributions need besides; others find their network by DHCP themselves."""
    distro = _distro(domain)
    if re.fullmatch(r"(el|fc)\d+", distro):
        yield sysprep.set_iscsi_initiator_name(domain.iscsi_name)
    if distro in ("el6", "el7"):
        for nic in domain.nics:
            yield sysprep.config_net_interface_dhcp(nic.name, nic.mac)
    if distro != "el6" and re.fullmatch(r"(el|fc)\d+", distro):
        yield ("--run-command", _GRUB2, "--run-command", _SLOW)
    if distro == "debian":
        yield sysprep.write_file("/etc/network/interfaces", _INTERFACES)
        yield ("--mkdir", "/etc/network/interfaces.d", "--run-command", _GRUB_DEBIAN)
        for nic in domain.nics:
            yield sysprep.write_file(f"/etc/network/interfaces.d/ifcfg-{nic.name}.cfg", _interface(nic.name, nic.mac))
    if distro.startswith(("debian", "ubuntu")):
        # virt-sysprep removes host keys, and in these nothing makes new ones, but in templates of ours.
        yield ("--run-command", f"test -e {_WANTED}/lago-hostkeys.service || ssh-keygen -A")


_INTERFACES = "auto lo\niface lo inet loopback\n\nsource /etc/network/interfaces.d/*.cfg\n"


def _interface(name: str, mac: str) -> str:
    return f"auto {name}\niface {name} inet6 auto\niface {name} inet dhcp\n    hwaddress ether {mac}\n"


def _files(domain: Domain) -> Iterator[sysprep.Mod]:
    for path, one in domain.files.items():
        yield ("--mkdir", os.path.dirname(path), *sysprep.write_file(path, one.content))
        yield ("--chmod", f"{one.permissions}:{path}")


def _distro(domain: Domain) -> str:
    return domain.distro or str(domain.image.get("distro", ""))
