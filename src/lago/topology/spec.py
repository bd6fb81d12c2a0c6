"""Stage 2: what the user wants, as frozen values.

`parse` is the only code that reads the raw data of an init file. What each key may hold is said by
`lago.initfile.keys`, what keys must mean together by `lago.initfile.checks`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    pass


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
    """One disk. `size` is in bytes; `path` and `url` may hold variables; `build` has values by option by builder."""

    name: str
    type: Literal["template", "empty", "file"]
    format: Literal["qcow2", "raw", "iso"] = "qcow2"
    dev: str
    template_name: str | None = None
    template_version: str | None = None
    path: str | None = None
    url: str | None = None
    make_a_copy: bool = False
    size: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    build: tuple[Mapping[str, Mapping[str, Sequence[str]]], ...] = ()
    skip_export: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A directory of the host that the guest can mount as `tag`."""

    path: str
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What an init file says of a machine and nothing else decides. `memory` is in MiB.

    Attributes:
        cpu_custom: the content of libvirt's <cpu>: `@name` is an attribute, `#text` the text.
        bootstrap: how it learns its name and keys; without it as its template says.
        cloud_init: more for its user-data.
        files: `content` and maybe `mode`, octal digits, by path in the guest.
        boot: what it boots from; without it the template's kernel, if there is one.
    """

    name: str
    memory: int
    vcpu: int
    cpu_model: str | None = None
    cpu_custom: Mapping[str, Any] | None = None
    machine: str = "q35"
    firmware: Literal["bios", "uefi"] = "bios"
    secure_boot: bool = False
    tpm: bool = False
    boot: Literal["kernel", "disk"] | None = None
    shares: tuple[Share, ...] = ()
    bootstrap: Literal["credentials", "cloud-init", "virt-sysprep", "none"] | None = None
    cloud_init: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    distro: str | None = None
    root_password: str | None = None
    ssh_user: str | None = None
    ssh_password: str | None = None
    boot_time_sec: int | None = None
    service_provider: str | None = None
    vm_type: str | None = None
    vm_provider: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()
    skip_export: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainSpec(Machine):
    """One virtual machine.

    Attributes:
        ova: address of the appliance that it is made of; may hold variables.
        from_ova: its attributes that the appliance decides.
    """

    ova: str | None = None
    from_ova: frozenset[str] = frozenset()
    nics: tuple[NicSpec, ...] = ()
    disks: tuple[DiskSpec, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetSpec:
    """One network. `dns_records` lead to addresses or to names."""

    name: str
    type: Literal["nat", "isolated", "bridge"] = "nat"
    management: bool = False
    gw: str | None = None
    dhcp: DhcpRange | None = None
    ipv6: bool = True
    mtu: int = 1500
    dns_domain_name: str | None = None
    dns_records: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvSpec:
    """A whole environment, in the order of the init file."""

    domains: Mapping[str, DomainSpec]
    nets: Mapping[str, NetSpec]

    def templates(self) -> tuple[tuple[str, str | None], ...]:
        """Name and version of every template that disks need, each once, in order of use."""
        disks = (disk for domain in self.domains.values() for disk in domain.disks)
        return tuple(dict.fromkeys((d.template_name, d.template_version) for d in disks if d.template_name))

    def layered(self) -> tuple[str, ...]:
        """Path of every image that disks are to be overlays of (`template_type: qcow2`), each once, in order of use."""
        disks = (disk for domain in self.domains.values() for disk in domain.disks)
        return tuple(dict.fromkeys(d.path for d in disks if d.type == "template" and d.path))


def key_of(attribute: str) -> str:
    """The key in an init file of an attribute of `Machine`."""
    hyphened = ("root_password", "ssh_user", "ssh_password", "vm_type", "vm_provider", "skip_export", "cloud_init")
    return attribute.replace("_", "-") if attribute in hyphened else attribute


OVA_DISK = {"name": "ova", "dev": "vda"}
"""The disk of an appliance, which comes before all others of its machine."""
