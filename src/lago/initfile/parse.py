"""From a document to an `EnvSpec`, with all faults at once."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ..errors import InitFileError
from ..log import LOG
from ..topology.spec import DhcpRange, DiskSpec, DomainSpec, EnvSpec, Machine, NetSpec, NicSpec, Share, key_of

if TYPE_CHECKING:
    from .document import Document


def parse(document: Document) -> EnvSpec:
    """What the user wants, from the data of an init file.

    Raises:
        InitFileError: all the mistakes of the file, in its order.
    """
    # Imported here: whoever loads a prefix needs the values alone.
    from ..initfile import checks, prototypes
    from ..initfile.keys import ENVIRONMENT
    from .faults import At, Faults

    faults = Faults(document)
    document, data = prototypes.expand(document, faults, _without_anchors(document, ENVIRONMENT.fields))
    top = At(document, faults, (), data)
    read = ENVIRONMENT.read(top) or {}
    checks.check(top, read)
    if lines := faults.lines():
        raise InitFileError(lines)
    return EnvSpec(
        domains={name: _domain(name, body) for name, body in read["domains"].items()},
        nets={name: _net(name, body, read["management"]) for name, body in read["nets"].items()},
    )


def _without_anchors(document: Document, known: Container[str]) -> dict[str, Any]:
    """The data without the top-level keys that only hold anchors."""
    from ..initfile.values import remark

    used = {}
    for key, value in document.data.items():
        if remark(key):
            continue
        if key not in known and key in document.only_anchors:
            line, column = document.keys[(key,)]
            where = f"{document.name}:{line}:{column}"
            LOG.warning("%s: %s: only its anchors are used; call it x-%s to say so", where, key, key)
            continue
        used[key] = value
    return used


_SAME_IN_BOTH = tuple(f.name for f in fields(Machine) if f.name not in ("name", "shares", "bootstrap"))


def _domain(name: str, body: dict[str, Any]) -> DomainSpec:
    body["service_provider"] = body["service_provider"] or body["service_class"]
    body["metadata"] = body["metadata"] or {}
    for key in ("groups", "artifacts"):
        body[key] = tuple(body[key])
    return DomainSpec(
        name=name,
        nics=tuple(NicSpec(**nic) for nic in body["nics"]),
        disks=tuple(_disk(disk) for disk in body["disks"]),
        shares=tuple(Share(**share) for share in body["shares"]),
        bootstrap=None if body["bootstrap"] == "template" else body["bootstrap"],
        ova=body["url"],
        from_ova=body["from_ova"],
        **{attribute: body[key] for attribute, key in _KEYS},
    )


_KEYS = tuple((attribute, key_of(attribute)) for attribute in _SAME_IN_BOTH)


def _disk(body: dict[str, Any]) -> DiskSpec:
    body = {key.replace("-", "_"): value for key, value in body.items() if key != "template_type"}
    return DiskSpec(**{**body, "metadata": body["metadata"] or {}, "build": tuple(body["build"] or ())})


def _net(name: str, body: dict[str, Any], management: frozenset[str]) -> NetSpec:
    return NetSpec(
        name=name,
        type=body["type"],
        management=name in management,
        gw=body["gw"],
        dhcp=DhcpRange(**body["dhcp"]) if body["dhcp"] else None,
        ipv6=body["ipv6"],
        mtu=body["mtu"],
        dns_domain_name=body["dns_domain_name"],
        dns_records=body["dns_records"],
    )
