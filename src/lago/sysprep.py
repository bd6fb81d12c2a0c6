"""Preparing a disk image before its machine first starts, by virt-sysprep.

Each function but `sysprep` returns a *mod*: arguments of virt-sysprep, several of which make up what `sysprep` does.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from .guestfs import programs
from .host.files import write_atomically

Mod = tuple[str, ...]

_AUTHORIZED_KEYS = "/root/.ssh/authorized_keys"


def set_hostname(hostname: str) -> Mod:
    """Give the guest a host name."""
    return ("--hostname", hostname)


def set_root_password(password: str) -> Mod:
    """Set the password of root."""
    return ("--root-password", f"password:{password}")


def add_ssh_key(key: str, with_restorecon_fix: bool = False) -> Mod:
    """Add an ssh key for root.

    Args:
        key: path of the public key.
        with_restorecon_fix: on its first boot the guest labels the key for SELinux, where virt-sysprep does it wrong.
    """
    mod = _make_directory(os.path.dirname(_AUTHORIZED_KEYS), 0o700)
    mod += (*_upload(key, _AUTHORIZED_KEYS), "--chmod", f"0600:{_AUTHORIZED_KEYS}")
    owner = os.stat(key)
    if (owner.st_uid, owner.st_gid) != (0, 0):
        mod += ("--run-command", f"chown 0:0 {_AUTHORIZED_KEYS}")
    if with_restorecon_fix:
        mod += ("--firstboot-command", "restorecon -R /root/.ssh")
    return mod


def set_iscsi_initiator_name(name: str) -> Mod:
    """Name the guest as an iSCSI initiator."""
    return _make_directory("/etc/iscsi") + write_file("/etc/iscsi/initiatorname.iscsi", f"InitiatorName={name}\n")


def set_selinux_mode(mode: str) -> Mod:
    """Set what SELinux does in the guest: `enforcing`, `permissive` or `disabled`."""
    content = f"SELINUX={mode}\nSELINUXTYPE=targeted\n"
    return _make_directory("/etc/selinux") + write_file("/etc/selinux/config", content)


def config_net_interface_dhcp(iface: str, hwaddr: str) -> Mod:
    """Configure an interface to use DHCP, in the form of Red Hat's network scripts.

    Args:
        hwaddr: its hardware address.
    """
    directory = "/etc/sysconfig/network-scripts"
    values = {"TYPE": "Ethernet", "BOOTPROTO": "dhcp", "ONBOOT": "yes", "NAME": iface, "HWADDR": hwaddr}
    content = "".join(f'{key}="{value}"\n' for key, value in values.items())
    return _make_directory(directory) + write_file(f"{directory}/ifcfg-{iface}", content)


def write_file(path: str, content: str) -> Mod:
    """Write a file of root's."""
    return ("--write", f"{path}:{content}")


def _upload(source: str, path: str) -> Mod:
    if ":" not in source:
        return ("--upload", f"{source}:{path}")
    # What is after its first colon would be the path on the guest.
    with open(source, encoding="utf-8") as file:
        return write_file(path, file.read())


def _make_directory(path: str, permissions: int = 0o755) -> Mod:
    return ("--mkdir", path, "--chmod", f"{permissions:04o}:{path}")


def sysprep(disk: str, mods: Iterable[Mod], format: str | None = None) -> None:
    """Prepare the image `disk`, whose machine must not run: remove what is a single machine's own, and apply mods.

    Args:
        format: of the image. Without it libguestfs guesses, which is only safe for an image that no stranger wrote.

    Raises:
        HostError: libguestfs is missing.
        DiskError: virt-sysprep failed; details are its own error output.
    """
    known = ["--format", format] if format else []
    hint = "bootstrap: none in the init file leaves a disk as it is that has no system on it, or none that is known"
    with secret_words([argument for mod in mods for argument in mod]) as arguments:
        argv = ["virt-sysprep", "--quiet", *known, "-a", disk, "--selinux-relabel", *arguments]
        programs.run_program(argv, failure=f"cannot prepare the disk {disk}", hint=hint)


@contextlib.contextmanager
def secret_words(words: Sequence[str]) -> Iterator[list[str]]:
    """Context manager: words of a command line without passwords, which are in files that nobody else can read.

    Arguments of programs can be read by all users of a host, and are in our logs.
    """
    with tempfile.TemporaryDirectory(prefix="lago-", dir=_without_colon()) as directory:
        found = list(words)
        for number, (option, word) in enumerate(itertools.pairwise(words), 1):
            if option in _PASSWORDS:
                user, secret, password = word.partition("password:")
                if secret and user in ("", f"{user[:-1]}:"):
                    path = os.path.join(directory, str(number))
                    write_atomically(path, f"{password}\n", 0o600)
                    found[number] = f"{user}file:{path}"
        yield found


_PASSWORDS: Final = ("--root-password", "--password")


def _without_colon() -> str:
    """A directory for temporary files; what is after a colon would be something else."""
    return next(path for path in (tempfile.gettempdir(), "/dev/shm", "/tmp") if ":" not in path)  # noqa: S108
