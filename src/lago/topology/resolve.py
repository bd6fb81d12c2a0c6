"""Stage 3: every name, address and path decided. Pure: same input, same Topology."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from ..errors import LagoError
from .address import Address
from .addressing import addresses, gateways, ipv6_of_mac, ipv6_prefixes, mac_of_address, mac_of_name
from .given import Machine, Share
from .model import Disk, Domain, Net, Nic, TemplateImage, Topology
from .names import bridge_name, libvirt_net_name, machine_names, nic_names
from .place import NOWHERE
from .spec import DiskSpec, DomainSpec, EnvSpec
from .variables import expand, fill_in_address

_CARRIED = tuple(one.name for one in fields(Machine))


def resolve(
    spec: EnvSpec,
    *,
    uuid: str,
    templates: Mapping[tuple[str, str | None], TemplateImage | None],
    subnets: Mapping[str, Address] | None = None,
    layered: Mapping[str, TemplateImage | None] | None = None,
    variables: Mapping[str, str] | None = None,
    defaults: Mapping[str, str | None] | None = None,
) -> Topology:
    """Decide everything that the init file leaves open.

    A net is where `subnets` says, else at its `gw`, else where its first full static address is, else in the first free
    192.168.N.0/24 from 200 on; a bridge net is nowhere. Static addresses are kept; on a net that `subnets` moved they
    keep their last octet. Other nics get the smallest octet that is neither the gateway's, nor static, nor in the dhcp
    range. The mapping of a net holds, per nic on it, `<vm>-eth<index>`, `<vm>-<net>` (the first one there),
    `<vm>-<net>-<n>`, and `<vm>` for the first nic on the management net; all of them also with the host name in place
    of the machine's, where that is another.

    Args:
        uuid: of the prefix.
        templates: the image for every `(name, version)` in `spec.templates()`; None if it is not known.
        subnets: gateways by net, for nets that lease their subnet.
        layered: the image for every path in `spec.layered()`; None if it is not known.
        variables: what may stand in paths as `$NAME`.
        defaults: attributes of machines (`vm_type`, ...) that the init file does not have.

    Raises:
        LagoError: there are not enough subnets or addresses, two nets get the same name, a variable is not there, or
            a template has no kernel to boot from.
    """
    _check_names(uuid, spec)
    gws = gateways(spec, subnets or {})
    ips, prefixes = addresses(spec, gws), ipv6_prefixes(spec, gws)
    images = _Images(templates, layered or {}, variables or {})
    domains = {name: _domain(body, spec, uuid, ips, prefixes, images) for name, body in spec.domains.items()}
    mappings = _mappings(domains)
    records = _records(spec, mappings)
    nets = {
        name: Net(
            name=name,
            type=net.type,
            management=net.management,
            gw=gws.get(name),
            dhcp=replace(net.dhcp, at=NOWHERE) if net.dhcp else None,
            mapping=mappings.get(name, {}),
            ipv6=prefixes.get(name),
            mtu=net.mtu,
            dns_domain_name=net.dns_domain_name,
            dns_records=records[name],
        )
        for name, net in spec.nets.items()
    }
    if defaults:
        domains = {name: _with_defaults(domain, defaults) for name, domain in domains.items()}
    return Topology(domains=domains, nets=nets, faults=spec.faults)


def check(spec: EnvSpec, variables: Mapping[str, str]) -> None:
    """Refuse what `resolve` would, as far as that can be told before there are images and leases.

    Raises:
        LagoError: as `resolve` does.
    """
    templates, layered = dict.fromkeys(spec.templates()), dict.fromkeys(spec.layered())
    resolve(spec, uuid="0" * 32, templates=templates, layered=layered, variables=variables)


def _with_defaults(domain: Domain, defaults: Mapping[str, Any]) -> Domain:
    missing = {key: value for key, value in defaults.items() if getattr(domain, key) is None}
    return replace(domain, **missing)


def _check_names(uuid: str, spec: EnvSpec) -> None:
    for name_of in (libvirt_net_name, bridge_name):
        owners: dict[str, str] = {}
        for net in spec.nets:
            name = name_of(uuid, net)
            other = owners.setdefault(name, net)
            if other != net:
                raise LagoError(f"the nets {other} and {net} would both be called {name}", hint="rename one of them")


def _domain(
    spec: DomainSpec,
    env: EnvSpec,
    uuid: str,
    addresses: Mapping[tuple[str, int], Address],
    prefixes: Mapping[str, str],
    images: _Images,
) -> Domain:
    nics = []
    for index, nic in enumerate(spec.nics):
        ip = addresses.get((spec.name, index))
        mac = mac_of_address(ip) if ip else mac_of_name(f"{uuid}/{spec.name}/{index}")
        ip6 = ipv6_of_mac(prefixes[nic.net], mac) if nic.net in prefixes else None
        nics.append(Nic(index=index, net=nic.net, mac=mac, ip=ip, ip6=ip6))
    carried = {name: getattr(spec, name) for name in _CARRIED}
    carried["shares"] = tuple(Share(path=images.absolute(share.path), tag=share.tag) for share in spec.shares)
    domain = Domain(
        **carried,
        nics=tuple(nics),
        disks=tuple(images.disk(spec.name, disk, n) for n, disk in enumerate(spec.disks, 1)),
        mgmt_net=next((nic.net for nic in spec.nics if env.nets[nic.net].management), None),
    )
    unknown = any(disk.type == "template" and disk.template is None for disk in domain.disks[:1])
    if domain.boot == "kernel" and "kernel" not in domain.image and not unknown:
        raise LagoError(
            f"{domain.name} shall boot from the kernel of its template, which has none", hint="remove boot: kernel"
        )
    return domain


class _Images:
    """Makes disks of their specs."""

    def __init__(
        self,
        templates: Mapping[tuple[str, str | None], TemplateImage | None],
        layered: Mapping[str, TemplateImage | None],
        variables: Mapping[str, str],
    ) -> None:
        self._templates = templates
        self._layered = layered
        self._variables = variables

    def disk(self, vm: str, spec: DiskSpec, position: int) -> Disk:
        path = f"images/{vm}_{spec.name}.{spec.format}"
        source = template = None
        if spec.url:
            source = fill_in_address(spec.url, self._variables)
        elif spec.type == "file" and spec.path:
            source = self.absolute(spec.path)
            if not spec.make_a_copy:
                path, source = source, None
        elif spec.type == "template":
            template = (
                self._layered[spec.path]
                if spec.path
                else self._templates[str(spec.template_name), spec.template_version]
            )
        return Disk(
            name=spec.name,
            type=spec.type,
            dev=spec.dev,
            format=spec.format,
            path=path,
            serial=str(position),
            size=spec.size,
            template=template,
            source=source,
            metadata=spec.metadata,
            build=spec.build,
            skip_export=spec.skip_export,
        )

    def absolute(self, path: str) -> str:
        return expand(path, self._variables)


def _mappings(domains: Mapping[str, Domain]) -> dict[str, dict[str, str]]:
    mappings: dict[str, dict[str, str]] = {}
    for vm, domain in domains.items():
        for nic, names in zip(domain.nics, nic_names(vm, (nic.net for nic in domain.nics)), strict=True):
            mapping = mappings.setdefault(nic.net, {})
            if nic.ip:
                for name in (*machine_names(vm), *names) if nic.net == domain.mgmt_net else names:
                    mapping.setdefault(name, str(nic.ip))
    return mappings


def _records(spec: EnvSpec, mappings: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The extra records of every net, with an address for each."""
    targets = {name: record.target for net in spec.nets.values() for name, record in net.dns_records.items()}
    known = {name.lower(): ip for mapping in mappings.values() for name, ip in mapping.items()}

    def address(target: str) -> str:
        while target in targets:
            target = targets[target]
        return known.get(target, str(target))

    return {name: {key: address(key) for key in net.dns_records} for name, net in spec.nets.items()}
