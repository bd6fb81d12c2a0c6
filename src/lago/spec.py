"""Stage 2: what the user wants, as frozen values.

`parse` is the only code that reads the raw data of an init file. What each key may hold is said by
`lago.sections`, what keys must mean together by `lago.rules`.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .errors import InitFileError
from .log import LOG

if TYPE_CHECKING:
    from .initfile import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class DhcpRange:
    """Dynamic addresses of a net, as last octets, both included."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NicSpec:
    """One network interface."""

    net: str
    ip: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpec:
    """One disk. `size` is in bytes."""

    name: str
    type: Literal["template", "empty"]
    format: Literal["qcow2", "raw"] = "qcow2"
    dev: str
    template_name: str | None = None
    template_version: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainSpec:
    """One virtual machine. `memory` is in MiB."""

    name: str
    memory: int
    vcpu: int
    nics: tuple[NicSpec, ...] = ()
    disks: tuple[DiskSpec, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetSpec:
    """One network."""

    name: str
    type: Literal["nat"] = "nat"
    management: bool = False
    gw: str | None = None
    dhcp: DhcpRange | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvSpec:
    """A whole environment, in the order of the init file."""

    domains: Mapping[str, DomainSpec]
    nets: Mapping[str, NetSpec]

    def templates(self) -> tuple[tuple[str, str | None], ...]:
        """Name and version of every template that disks need, each once, in order of use."""
        disks = (disk for domain in self.domains.values() for disk in domain.disks)
        return tuple(dict.fromkeys((d.template_name, d.template_version) for d in disks if d.template_name))


def parse(document: Document) -> EnvSpec:
    """What the user wants, from the data of an init file.

    Raises:
        InitFileError: all the mistakes of the file, in its order.
    """
    # Imported here: whoever loads a prefix needs the values alone.
    from . import rules
    from .fields import At, Faults
    from .sections import ENVIRONMENT

    faults = Faults(document)
    top = At(document, faults, (), _without_anchors(document, {*ENVIRONMENT.fields, *ENVIRONMENT.later}))
    read = ENVIRONMENT.read(top) or {}
    rules.check(top, read)
    if lines := faults.lines():
        raise InitFileError(lines)
    return EnvSpec(
        domains={name: _domain(name, body) for name, body in read["domains"].items()},
        nets={name: _net(name, body, read["management"]) for name, body in read["nets"].items()},
    )


def _without_anchors(document: Document, known: Container[str]) -> dict[str, Any]:
    """The data without the top-level keys that only hold anchors."""
    used = {}
    for key, value in document.data.items():
        if key.startswith("x-"):
            continue
        if key not in known and key in document.only_anchors:
            line, column = document.keys[(key,)]
            where = f"{document.name}:{line}:{column}"
            LOG.warning("%s: %s: only its anchors are used; call it x-%s to say so", where, key, key)
            continue
        used[key] = value
    return used


def _domain(name: str, body: dict[str, Any]) -> DomainSpec:
    return DomainSpec(
        name=name,
        memory=body["memory"],
        vcpu=body["vcpu"],
        nics=tuple(NicSpec(**nic) for nic in body["nics"]),
        disks=tuple(DiskSpec(**disk) for disk in body["disks"]),
        metadata=body["metadata"] or {},
        groups=tuple(body["groups"]),
        artifacts=tuple(body["artifacts"]),
    )


def _net(name: str, body: dict[str, Any], management: frozenset[str]) -> NetSpec:
    dhcp = DhcpRange(**body["dhcp"]) if body["dhcp"] else None
    return NetSpec(name=name, type=body["type"], management=name in management, gw=body["gw"], dhcp=dhcp)
