"""A NoCloud seed: a small read-only disk labelled `cidata` that cloud-init, or something like it, reads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from ..host.files import PUBLIC, write_atomically
from ..paths import Paths
from ..topology.model import Domain
from . import iso
from .additions import Additions, SeedDisk


def prepare(domain: Domain, paths: Paths, public_key: str) -> None:
    """Write the seed disk."""
    write_atomically(_seed(domain, paths), iso.image("cidata", _files(domain, public_key)), PUBLIC)


def additions(domain: Domain, paths: Paths, _public_key: str) -> Additions:
    """The seed disk."""
    return Additions(disks=(SeedDisk(path=os.path.abspath(_seed(domain, paths))),))


def _seed(domain: Domain, paths: Paths) -> str:
    return paths.images(f"{domain.name}_seed.iso")


def _files(domain: Domain, public_key: str) -> dict[str, bytes]:
    user_data = f"#cloud-config\n{_yaml(merge(_user_data(domain, public_key.strip()), domain.cloud_init))}"
    network = _yaml(_network(domain))
    # Another content is another instance, for which cloud-init does its work again.
    instance = hashlib.sha256(f"{domain.name}\n{user_data}{network}".encode()).hexdigest()[:16]
    meta_data = f"instance-id: {instance}\nlocal-hostname: {domain.host_name}\n"
    files = {"meta-data": meta_data, "user-data": user_data, "network-config": network}
    return {name: text.encode() for name, text in files.items()}


def merge(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Both together: mappings merge, lists follow each other, of other values `theirs` wins."""
    result = dict(ours)
    for key, value in theirs.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            result[key] = merge(old, value)
        elif isinstance(old, list) and isinstance(value, list):
            result[key] = [*old, *value]
        else:
            result[key] = value
    return result


def _user_data(domain: Domain, key: str) -> dict[str, Any]:
    as_root = _logs_in_as_root(domain)
    users = [_user("root", key, domain.root_password or (domain.ssh_password if as_root else None))]
    if not as_root:
        users.append(_user(str(domain.ssh_user), key, domain.ssh_password, sudo=True))
    files = [
        {"path": path, "content": one.content, "permissions": one.permissions} for path, one in domain.files.items()
    ]
    return {
        "hostname": domain.host_name,
        # Otherwise cloud-init calls the guest by what is before the first dot.
        **({"fqdn": domain.host_name, "prefer_fqdn_over_hostname": True} if "." in domain.host_name else {}),
        "preserve_hostname": False,
        # Otherwise cloud-init puts a command that refuses before root's keys.
        "disable_root": False,
        "ssh_authorized_keys": [key],
        **({"ssh_pwauth": True} if domain.ssh_password else {}),
        "users": users,
        **({"write_files": files} if files else {}),
    }


def _network(domain: Domain) -> dict[str, Any]:
    """Configuration of the network: every interface by DHCP; of several ways out the first wins."""
    interfaces = {
        nic.name: {
            "match": {"macaddress": nic.mac},
            "set-name": nic.name,
            "dhcp4": True,
            "dhcp4-overrides": {"route-metric": 100 + nic.index},
        }
        for nic in domain.nics
        if nic.ip
    }
    return {"version": 2, "ethernets": interfaces}


def _yaml(data: Mapping[str, Any]) -> str:
    # Imported here: where a machine is only started, nothing is written.
    import yaml

    # The reader of `mini` knows lines, so none is folded.
    text: str = yaml.safe_dump(data, sort_keys=False, default_flow_style=False, width=1 << 20)
    return text


def _logs_in_as_root(domain: Domain) -> bool:
    return domain.ssh_user in (None, "root")


def _user(name: str, key: str, password: str | None, *, sudo: bool = False) -> dict[str, Any]:
    user: dict[str, Any] = {"name": name}
    if sudo:
        user |= {"sudo": "ALL=(ALL) NOPASSWD:ALL", "shell": "/bin/sh"}
    if password is not None:
        from .passwords import hash_of

        user |= {"lock_passwd": False, "hashed_passwd": hash_of(password)}
    return {**user, "ssh_authorized_keys": [key]}
