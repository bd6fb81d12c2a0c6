"""Stage 2: what the user wants, as frozen values.

What each key of an init file may hold is said by `lago.initfile.keys`, what keys must mean together by
`lago.initfile.checks`. What a key is when absent is said here. Specs know their place in the file, which is no part of
what they say: the same wish at two places is equal.
"""

# Types of attributes stay types, and are not made text: `state` reads values by them.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from .address import Address
from .given import DhcpRange, Machine
from .place import NOWHERE, Place


@dataclass(frozen=True, slots=True, kw_only=True)
class NicSpec:
    """One network interface."""

    net: str
    ip: Address | None = None
    at: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpec:
    """One disk. `size` is in bytes; `path` and `url` may hold variables; `build` has values by option by builder."""

    name: str
    type: Literal["template", "empty", "file"]
    format: Literal["qcow2", "raw", "iso"]
    dev: str
    template_name: str | None = None
    template_version: str | None = None
    template_type: Literal["lago", "qcow2"] | None = None
    path: str | None = None
    url: str | None = None
    make_a_copy: bool = False
    size: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    build: tuple[Mapping[str, Mapping[str, Sequence[str]]], ...] = ()
    skip_export: bool = False
    at: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainSpec(Machine):
    """One virtual machine.

    Attributes:
        type: `ova` if it is an appliance.
        ova: address of the appliance that it is made of; may hold variables.
        from_ova: its attributes that the appliance decides.
    """

    type: Literal["ova"] | None = None
    ova: str | None = None
    from_ova: frozenset[str] = frozenset()
    nics: tuple[NicSpec, ...] = ()
    disks: tuple[DiskSpec, ...] = ()
    at: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsRecord:
    """What a name of a net's DNS leads to: an address, or another name."""

    target: str
    at: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetSpec:
    """One network; `dns_records` are by name, in small letters."""

    name: str
    type: Literal["nat", "isolated", "bridge"] = "nat"
    management: bool = False
    gw: Address | None = None
    dhcp: DhcpRange | None = None
    ipv6: bool = True
    mtu: int = 1500
    dns_domain_name: str | None = None
    dns_records: Mapping[str, DnsRecord] = field(default_factory=dict)
    at: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvSpec:
    """A whole environment, in the order of the init file.

    Attributes:
        faults: what may be broken on purpose by a name, each as on the command line.
        named_nets: the names of all nets in the file, those of which nothing else could be read too; None if it can't
            be told which there are.
    """

    domains: Mapping[str, DomainSpec]
    nets: Mapping[str, NetSpec] = field(default_factory=dict)
    faults: Mapping[str, Sequence[str]] = field(default_factory=dict)
    named_nets: tuple[str, ...] | None = field(default=None, compare=False, repr=False)

    def templates(self) -> tuple[tuple[str, str | None], ...]:
        """Name and version of every template that disks need, each once, in order of use."""
        disks = (disk for domain in self.domains.values() for disk in domain.disks)
        return tuple(dict.fromkeys((d.template_name, d.template_version) for d in disks if d.template_name))

    def layered(self) -> tuple[str, ...]:
        """Path of every image that disks are to be overlays of (`template_type: qcow2`), each once, in order of use."""
        disks = (disk for domain in self.domains.values() for disk in domain.disks)
        return tuple(dict.fromkeys(d.path for d in disks if d.type == "template" and d.path))


OVA_DISK: Final = {"name": "ova", "dev": "vda"}
"""The disk of an appliance, which comes before all others of its machine."""
