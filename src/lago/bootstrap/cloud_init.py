"""A NoCloud seed: a small read-only disk labelled `cidata` that cloud-init, or something like it, reads."""

from __future__ import annotations

import hashlib
import os

from ..paths import Paths
from ..topology import Domain
from ..utils import write_atomically
from . import Additions, SeedDisk, iso


def prepare(domain: Domain, paths: Paths, public_key: str) -> None:
    """Write the seed disk."""
    write_atomically(_seed(domain, paths), iso.image("cidata", _files(domain, public_key)))


def additions(domain: Domain, paths: Paths, _public_key: str) -> Additions:
    """The seed disk."""
    return Additions(disks=(SeedDisk(path=os.path.abspath(_seed(domain, paths))),))


def _seed(domain: Domain, paths: Paths) -> str:
    return paths.images(f"{domain.name}_seed.iso")


def _files(domain: Domain, public_key: str) -> dict[str, bytes]:
    key = public_key.strip()
    user_data = "\n".join(
        [
            "#cloud-config",
            f"hostname: {domain.name}",
            "preserve_hostname: false",
            # Otherwise cloud-init puts a command that refuses before root's keys.
            "disable_root: false",
            "ssh_authorized_keys:",
            f"  - {key}",
            *(["ssh_pwauth: true"] if domain.ssh_password else []),
            "users:",
            *_user("root", key, domain.root_password or (domain.ssh_password if _logs_in_as_root(domain) else None)),
            *([] if _logs_in_as_root(domain) else _user(str(domain.ssh_user), key, domain.ssh_password, sudo=True)),
            "",
        ]
    )
    # Another content is another instance, for which cloud-init does its work again.
    instance = hashlib.sha256(f"{domain.name}\n{user_data}".encode()).hexdigest()[:16]
    meta_data = f"instance-id: {instance}\nlocal-hostname: {domain.name}\n"
    return {"meta-data": meta_data.encode(), "user-data": user_data.encode()}


def _logs_in_as_root(domain: Domain) -> bool:
    return domain.ssh_user in (None, "root")


def _user(name: str, key: str, password: str | None, *, sudo: bool = False) -> list[str]:
    lines = [f"  - name: {name}"]
    if sudo:
        lines += ["    sudo: ALL=(ALL) NOPASSWD:ALL", "    shell: /bin/sh"]
    if password is not None:
        from .passwords import hashed

        lines += ["    lock_passwd: false", f'    hashed_passwd: "{hashed(password)}"']
    return [*lines, "    ssh_authorized_keys:", f"      - {key}"]
