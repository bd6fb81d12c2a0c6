"""The init file of an export: the same machines, at the same addresses, over the images beside it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from ...constants import INITFILE_PATH_VARIABLE
from ...errors import LagoError
from ...log import LOG
from ...topology.given import GuestFile, Machine, key_of
from ...topology.model import Domain, Net
from ...topology.state import plain
from .. import deploy
from .images import Image

_LEFT_OUT: Final = ("name", "shares", "metadata", "skip_export", "deploy_after")
"""What is not written as it is; shares are directories of this host, and scripts have been run."""

_TOLD: Final = ("memory", "vcpu")
"""What is written even if it is as by default, which another release may have otherwise."""


def text(domains: Sequence[Domain], nets: Iterable[Net], images: Sequence[Image], out_format: str) -> str:
    """The init file as `yaml` or `json`."""
    data = {
        "domains": {domain.name: _domain(domain, [i for i in images if i.vm == domain.name]) for domain in domains},
        "nets": {net.name: _net(net) for net in nets},
    }
    if out_format == "json":
        return json.dumps(data, indent=4) + "\n"
    if out_format != "yaml":
        raise LagoError(f"an init file can't be {out_format}", hint="choose yaml or json")
    import yaml

    written: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return written


def _domain(domain: Domain, images: Iterable[Image]) -> dict[str, Any]:
    if domain.shares:
        LOG.warning("%s: its shares are directories of this host, and left out", domain.name)
    entry: dict[str, Any] = {}
    for one in dataclasses.fields(Machine):
        value = getattr(domain, one.name)
        if one.name not in _LEFT_OUT and (value != one.default or one.name in _TOLD):
            entry[key_of(one)] = plain(value)
    if domain.files:
        entry["files"] = {path: _given(file) for path, file in domain.files.items()}
    # The scripts have been run.
    if metadata := {key: value for key, value in domain.metadata.items() if key not in deploy.KEYS}:
        entry["metadata"] = metadata
    entry["nics"] = [{"net": nic.net, **({"ip": str(nic.ip)} if nic.ip else {})} for nic in domain.nics]
    entry["disks"] = [_disk(image) for image in images]
    return {key: value for key, value in entry.items() if value != [] and (key, value) != ("artifact-commands", {})}


def _given(file: GuestFile) -> dict[str, Any]:
    return {key: value for key, value in plain(file).items() if value is not None}


def _disk(image: Image) -> dict[str, Any]:
    disk = image.disk
    entry: dict[str, Any] = {"name": disk.name, "dev": disk.dev, "path": f"${INITFILE_PATH_VARIABLE}/{image.name}"}
    if disk.template is not None:
        return {"type": "template", "template_type": "qcow2", **entry}
    # What machines write goes into the environment, and the export stays as it is.
    copied = {} if image.format == "iso" else {"make_a_copy": True}
    metadata = {"metadata": dict(disk.metadata)} if disk.metadata else {}
    return {"type": "file", **entry, "format": image.format, **copied, **metadata}


def _net(net: Net) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": net.type, "management": net.management}
    if net.type != "bridge":
        entry["gw"] = str(net.gw)
        if net.ipv6 is None:
            entry["ipv6"] = False
    if net.dhcp is not None:
        entry["dhcp"] = {"start": net.dhcp.start, "end": net.dhcp.end}
    if net.mtu != 1500:
        entry["mtu"] = net.mtu
    if net.dns_domain_name is not None:
        entry["dns_domain_name"] = net.dns_domain_name
    if net.dns_records:
        entry["dns_records"] = dict(net.dns_records)
    return entry
