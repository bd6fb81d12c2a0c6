"""The decision: machines, nets and disks with every name, address and path."""

# Types of attributes stay types, and are not made text: `state` reads values by them.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .address import Address
from .given import DhcpRange, Machine
from .names import host_name


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateImage:
    """An image in the store that disks are overlays of.

    Attributes:
        id: `<repository>:<template>:<version>`.
        path: absolute path of the image.
        format: what qemu-img calls it, `qcow2` or `raw`.
        metadata: what the repository says about it, such as `distro`, `kernel`, `kernel-efi`, `initrd` (absolute
            paths), `cmdline`, `bootstrap`, `root-password`.
    """

    id: str
    path: str
    format: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """A network interface, `eth<index>` in the guest; without addresses if it is on a bridge net."""

    index: int
    net: str
    mac: str
    ip: Address | None
    ip6: str | None = None

    @property
    def name(self) -> str:
        return f"eth{self.index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk image.

    Attributes:
        path: relative to the prefix, or absolute if it is not the prefix's own.
        serial: its 1-based position.
        size: in bytes.
        source: the image that it is a copy of; an absolute path, or an address.
        metadata: what the init file says about it.
        build: what is done to it when it is made, as values by option by builder.
    """

    name: str
    type: Literal["template", "empty", "file"]
    dev: str
    format: Literal["qcow2", "raw", "iso"]
    path: str
    serial: str
    size: int | None = None
    template: TemplateImage | None = None
    source: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    build: tuple[Mapping[str, Mapping[str, Sequence[str]]], ...] = ()
    skip_export: bool = field(default=False, metadata={"key": "skip-export"})

    @property
    def image_format(self) -> str:
        """What qemu-img calls the format of the image: a CD is raw."""
        return "raw" if self.format == "iso" else self.format


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain(Machine):
    """A virtual machine; `mgmt_net` is the management net it touches."""

    nics: tuple[Nic, ...]
    disks: tuple[Disk, ...]
    mgmt_net: str | None

    @property
    def host_name(self) -> str:
        """What its guest is to call itself."""
        return host_name(self.name)

    @property
    def iscsi_name(self) -> str:
        """Its name as an iSCSI initiator (RFC 3722 has small letters only)."""
        return f"iqn.2014-07.org.lago:{self.host_name.lower()}"

    def writable(self) -> list[Disk]:
        """Its disks that change."""
        return [disk for disk in self.disks if disk.format != "iso"]

    @property
    def image(self) -> Mapping[str, Any]:
        """What is known of the image that the machine boots from: its template's metadata, then the init file's."""
        if not self.disks:
            return {}
        disk = self.disks[0]
        return {**disk.metadata, **disk.template.metadata} if disk.template else disk.metadata

    @property
    def template(self) -> TemplateImage | None:
        """The image that the machine boots from, if its first disk comes from a template."""
        return self.disks[0].template if self.disks else None

    @property
    def ip(self) -> str | None:
        """Address on the management net."""
        return next((str(nic.ip) for nic in self.nics if nic.net == self.mgmt_net and nic.ip), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """A network.

    Attributes:
        gw: its gateway, in a /24; none on a bridge net, which has no addresses.
        ipv6: the first half of its IPv6 addresses, such as `fd8f:1391:3a82:200`, if it has them.
        mapping: address by name, of nics on it.
        dns_records: address by name, from the init file.
    """

    name: str
    type: Literal["nat", "isolated", "bridge"]
    management: bool
    gw: Address | None
    dhcp: DhcpRange | None
    mapping: Mapping[str, str]
    ipv6: str | None = None
    mtu: int = 1500
    dns_domain_name: str | None = None
    dns_records: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A whole environment with everything decided, in the order of the init file.

    Attributes:
        faults: what may be broken on purpose by a name, each as on the command line.
    """

    domains: Mapping[str, Domain]
    nets: Mapping[str, Net]
    faults: Mapping[str, Sequence[str]] = field(default_factory=dict)
