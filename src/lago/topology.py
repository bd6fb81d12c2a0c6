"""Stage 3: every name, address and path decided. Pure: same input, same Topology."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .errors import LagoError
from .spec import DhcpRange, DiskSpec, DomainSpec, EnvSpec, NetSpec

PRIVATE_SUBNETS = range(200, 256)
"""Third octets of the 192.168.N.0/24 that nets without gateway get."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateImage:
    """An image in the store that disks are overlays of.

    Attributes:
        id: `<repository>:<template>:<version>`.
        path: absolute path of the image.
        format: what qemu-img calls it, `qcow2` or `raw`.
        metadata: what the repository says about it, such as `distro`, `kernel`, `initrd` (absolute paths), `cmdline`,
            `bootstrap`, `root-password`.
    """

    id: str
    path: str
    format: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """A network interface, `eth<index>` in the guest."""

    index: int
    net: str
    mac: str
    ip: str | None

    @property
    def name(self) -> str:
        return f"eth{self.index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk image; `path` is relative to the prefix, `size` in bytes, `serial` its 1-based position."""

    name: str
    type: Literal["template", "empty"]
    dev: str
    format: Literal["qcow2", "raw"]
    path: str
    serial: str
    size: int | None = None
    template: TemplateImage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """A virtual machine; `memory` in MiB, `mgmt_net` the management net it touches."""

    name: str
    memory: int
    vcpu: int
    nics: tuple[Nic, ...]
    disks: tuple[Disk, ...]
    mgmt_net: str | None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()

    @property
    def template(self) -> TemplateImage | None:
        """The image that the machine boots from, if its first disk comes from a template."""
        return self.disks[0].template if self.disks else None

    @property
    def ip(self) -> str | None:
        """Address on the management net."""
        return next((nic.ip for nic in self.nics if nic.net == self.mgmt_net and nic.ip), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """A network; always a /24 with gateway `gw`. `mapping` is name to address, see behaviour of `resolve`."""

    name: str
    type: Literal["nat"]
    management: bool
    gw: str
    dhcp: DhcpRange | None
    mapping: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A whole environment with everything decided, in the order of the init file."""

    domains: Mapping[str, Domain]
    nets: Mapping[str, Net]


def _digits(sha: str, text: str) -> str:
    # Imported here: it is slow, and most commands need no names.
    import hashlib

    return hashlib.new(sha, text.encode(), usedforsecurity=False).hexdigest()[:10]


def libvirt_domain_name(uuid: str, vm: str) -> str:
    """What libvirt calls a machine of the prefix `uuid`."""
    return f"{uuid[:8]}-{vm}"


def libvirt_net_name(uuid: str, net: str) -> str:
    """What libvirt calls a network of the prefix `uuid`; at most 15 characters."""
    short = net if len(net) <= 10 else _digits("sha1", net)
    return f"{uuid[:4]}-{short}"


def bridge_name(uuid: str, net: str) -> str:
    """The bridge device of a network; 15 characters, which is all that Linux allows, other for every prefix and net."""
    return f"lago-{_digits('sha256', f'{uuid}/{net}')}"


def resolve(
    spec: EnvSpec,
    *,
    uuid: str,
    templates: Mapping[tuple[str, str | None], TemplateImage],
    subnets: Mapping[str, str] | None = None,
) -> Topology:
    """Decide everything that the init file leaves open.

    A net is where `subnets` says, else at its `gw`, else where its first full static address is, else in the first free
    192.168.N.0/24 from 200 on. Static addresses are kept; on a net that `subnets` moved they keep their last octet.
    Other nics get the smallest octet that is neither the gateway's, nor static, nor in the dhcp range. The mapping of a
    net holds, per nic on it, `<vm>-eth<index>`, `<vm>-<net>` (the first one there), `<vm>-<net>-<n>`, and `<vm>` for
    the first nic on the management net.

    Args:
        uuid: of the prefix.
        templates: the image for every `(name, version)` in `spec.templates()`.
        subnets: gateways by net, for nets that lease their subnet.

    Raises:
        LagoError: there are not enough subnets or addresses, or two nets get the same name.
    """
    _check_names(uuid, spec)
    gateways = _gateways(spec, subnets or {})
    addresses = _addresses(spec, gateways)
    domains = {name: _domain(body, spec, addresses, templates) for name, body in spec.domains.items()}
    mappings = _mappings(domains)
    nets = {
        name: Net(
            name=name,
            type=net.type,
            management=net.management,
            gw=gateways[name],
            dhcp=net.dhcp,
            mapping=mappings.get(name, {}),
        )
        for name, net in spec.nets.items()
    }
    return Topology(domains=domains, nets=nets)


def _check_names(uuid: str, spec: EnvSpec) -> None:
    for name_of in (libvirt_net_name, bridge_name):
        owners: dict[str, str] = {}
        for net in spec.nets:
            name = name_of(uuid, net)
            other = owners.setdefault(name, net)
            if other != net:
                raise LagoError(f"the nets {other} and {net} would both be called {name}", hint="rename one of them")


def _gateways(spec: EnvSpec, subnets: Mapping[str, str]) -> dict[str, str]:
    wanted = {name: subnets.get(name) or net.gw for name, net in spec.nets.items()}
    for domain in spec.domains.values():
        for nic in domain.nics:
            if nic.ip and not wanted[nic.net] and not nic.ip.startswith("0.0.0."):
                wanted[nic.net] = _in_subnet(nic.ip, 1)
    taken = {_subnet(gw) for gw in wanted.values() if gw}
    free = (n for n in PRIVATE_SUBNETS if f"192.168.{n}" not in taken)
    gateways: dict[str, str] = {}
    for name, gw in wanted.items():
        number = None if gw else next(free, None)
        if not gw and number is None:
            raise LagoError(
                f"no subnet is left for the net {name}: 192.168.{PRIVATE_SUBNETS[0]}.0/24 to "
                f"192.168.{PRIVATE_SUBNETS[-1]}.0/24 are all used by this environment",
                hint=f"give the net a gateway elsewhere, such as gw: 10.0.{len(gateways) % 256}.1",
            )
        gateways[name] = gw or f"192.168.{number}.1"
    return gateways


def _subnet(address: str) -> str:
    return address.rpartition(".")[0]


def _in_subnet(address: str, last: int) -> str:
    return f"{_subnet(address)}.{last}"


def _last(address: str) -> int:
    return int(address.rpartition(".")[2])


def _addresses(spec: EnvSpec, gateways: Mapping[str, str]) -> dict[tuple[str, int], str]:
    """The address of every nic, by machine and index."""
    static: dict[str, dict[int, str]] = {name: {} for name in spec.nets}
    for vm, domain in spec.domains.items():
        for nic in domain.nics:
            if nic.ip:
                other = static[nic.net].setdefault(_last(nic.ip), vm)
                if other is not vm or _last(nic.ip) == _last(gateways[nic.net]):
                    owner = "the gateway" if other is vm else other
                    raise LagoError(
                        f"{nic.ip} of {vm} would be {_in_subnet(gateways[nic.net], _last(nic.ip))} "
                        f"on the net {nic.net}, as is {owner}",
                        hint="choose another last number for it",
                    )
    free = {name: _free_octets(net, gateways[name], static[name]) for name, net in spec.nets.items()}
    addresses = {}
    for vm, domain in spec.domains.items():
        for index, nic in enumerate(domain.nics):
            last = _last(nic.ip) if nic.ip else next(free[nic.net], None)
            if last is None:
                raise LagoError(
                    f"the net {nic.net} has no address left for {vm}",
                    hint="a net holds 253 nics, fewer with a dhcp range: shorten the range or add a net",
                )
            addresses[vm, index] = _in_subnet(gateways[nic.net], last)
    return addresses


def _free_octets(net: NetSpec, gw: str, static: Mapping[int, str]) -> Iterator[int]:
    dynamic = range(net.dhcp.start, net.dhcp.end + 1) if net.dhcp else range(0)
    gateway = _last(gw)
    return (n for n in range(2, 255) if n != gateway and n not in static and n not in dynamic)


def _mac(ip: str) -> str:
    return ":".join(["54", "52", *(f"{int(octet):02x}" for octet in ip.split("."))])


def _domain(
    spec: DomainSpec,
    env: EnvSpec,
    addresses: Mapping[tuple[str, int], str],
    templates: Mapping[tuple[str, str | None], TemplateImage],
) -> Domain:
    ips = [addresses[spec.name, index] for index in range(len(spec.nics))]
    return Domain(
        name=spec.name,
        memory=spec.memory,
        vcpu=spec.vcpu,
        nics=tuple(
            Nic(index=index, net=nic.net, mac=_mac(ip), ip=ip)
            for index, (nic, ip) in enumerate(zip(spec.nics, ips, strict=True))
        ),
        disks=tuple(_disk(spec.name, disk, n, templates) for n, disk in enumerate(spec.disks, 1)),
        mgmt_net=next((nic.net for nic in spec.nics if env.nets[nic.net].management), None),
        metadata=spec.metadata,
        groups=spec.groups,
        artifacts=spec.artifacts,
    )


def _disk(vm: str, spec: DiskSpec, position: int, templates: Mapping[tuple[str, str | None], TemplateImage]) -> Disk:
    return Disk(
        name=spec.name,
        type=spec.type,
        dev=spec.dev,
        format=spec.format,
        path=f"images/{vm}_{spec.name}.{spec.format}",
        serial=str(position),
        size=spec.size,
        template=templates[spec.template_name, spec.template_version] if spec.template_name else None,
    )


def _mappings(domains: Mapping[str, Domain]) -> dict[str, dict[str, str]]:
    from .rules import nic_names

    mappings: dict[str, dict[str, str]] = {}
    for vm, domain in domains.items():
        for nic, names in zip(domain.nics, nic_names(vm, (nic.net for nic in domain.nics)), strict=True):
            mapping = mappings.setdefault(nic.net, {})
            for name in (vm, *names) if nic.net == domain.mgmt_net else names:
                mapping.setdefault(name, str(nic.ip))
    return mappings
