"""Networks as libvirt XML (https://libvirt.org/formatnetwork.html)."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ..topology.addressing import mac_of_name
from ..topology.model import Net, Nic
from .domain_xml import DEFAULT_MTU, _add

DNS_DOMAIN: Final = "lago.local"
_DNSMASQ: Final = "http://libvirt.org/schemas/network/dnsmasq/1.0"
_NO_ROUTER: Final = "dhcp-option=3"
_DHCP_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
"""What libvirt and dnsmasq take for the name of a DHCP client; DNS has the others all the same."""

ET.register_namespace("dnsmasq", _DNSMASQ)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions:
    """How networks are to be made where libvirt is.

    Attributes:
        filtered: libvirt adds packet filter rules; otherwise others are there already.
        forwarders: name servers for names outside of the environment; without any, those of the host.
        own_bridge: the device of a bridge net exists; otherwise libvirt makes it.
    """

    filtered: bool = True
    forwarders: tuple[str, ...] = ()
    own_bridge: bool = False


def network_xml(
    net: Net,
    *,
    name: str,
    uuid: str,
    bridge: str,
    nics: Iterable[Nic],
    records: Mapping[str, Iterable[str]],
    options: NetworkOptions,
) -> str:
    """XML of a net, as libvirt defines it.

    Args:
        name: libvirt's name for it.
        uuid: libvirt's UUID for it.
        bridge: its device.
        nics: all nics on it.
        records: names that it answers for, by address, if it is a management net.
    """
    root = ET.Element("network")
    _add(root, "name", name)
    _add(root, "uuid", uuid)
    if not options.own_bridge:
        # Guests whose memory is brought back know the gateway by its hardware address of then.
        _add(root, "mac", address=mac_of_name(uuid))
    if net.gw is None:
        if options.own_bridge:
            _add(root, "forward", mode="bridge")
            _add(root, "bridge", name=bridge)
        else:
            _add(root, "bridge", name=bridge, stp="off", delay="0")
            _mtu(root, net)
        return ET.tostring(root, encoding="unicode")
    if not options.filtered:
        _add(root, "forward", mode="open")
    elif net.type == "nat":
        _add(root, "forward", mode="nat")
    _add(root, "bridge", name=bridge, stp="off", delay="0")
    _mtu(root, net)
    extra = [] if net.management else [_NO_ROUTER]
    if net.management or net.dns_domain_name:
        _add(root, "domain", name=net.dns_domain_name or DNS_DOMAIN, localOnly="yes")
    if net.management:
        outside = net.type == "nat"
        _dns(root, records, options.forwarders if outside else ())
        # Nobody knows more names there than we do.
        extra += [] if outside else ["no-resolv"]
    else:
        # A machine's way out, and its name server, is its management net; other nets announce neither.
        _add(root, "dns", enable="no")
    with_address = [nic for nic in nics if nic.ip]
    names = {address: name for name, address in reversed(list(net.mapping.items())) if _DHCP_NAME.fullmatch(name)}
    _ipv4(root, net, with_address, names)
    if net.ipv6:
        _ipv6(root, net, with_address, names)
        # Guests that ask no DHCP server make an address of their own, the same. Nobody routes them anywhere.
        extra += [f"dhcp-range={net.ipv6}::,ra-only,64", f"ra-param={bridge},0,0"]
    if extra:
        added = ET.SubElement(root, f"{{{_DNSMASQ}}}options")
        for option in extra:
            ET.SubElement(added, f"{{{_DNSMASQ}}}option", value=option)
    return ET.tostring(root, encoding="unicode")


def _mtu(root: ET.Element, net: Net) -> None:
    if net.mtu != DEFAULT_MTU:
        _add(root, "mtu", size=str(net.mtu))


def _ipv4(root: ET.Element, net: Net, nics: Iterable[Nic], names: Mapping[str, str]) -> None:
    ip = _add(root, "ip", address=str(net.gw), netmask="255.255.255.0")
    nics = list(nics)
    if nics or net.dhcp:
        dhcp = _add(ip, "dhcp")
        if net.dhcp and net.gw:
            _add(dhcp, "range", start=net.gw.with_last(net.dhcp.start), end=net.gw.with_last(net.dhcp.end))
        for nic in nics:
            _add(dhcp, "host", mac=nic.mac, **_name(names, nic), ip=str(nic.ip))


def _ipv6(root: ET.Element, net: Net, nics: Iterable[Nic], names: Mapping[str, str]) -> None:
    ip = _add(root, "ip", family="ipv6", address=f"{net.ipv6}::1", prefix="64")
    hosts = [nic for nic in nics if nic.ip6]
    if hosts:
        dhcp = _add(ip, "dhcp")
        for nic in hosts:
            # The client's identifier that is made of its hardware address (RFC 8415, DUID-LL).
            _add(dhcp, "host", id=f"0:3:0:1:{nic.mac}", **_name(names, nic), ip=str(nic.ip6))


def _name(names: Mapping[str, str], nic: Nic) -> dict[str, str]:
    """The attribute that names a DHCP client, if it has a name for that."""
    return {"name": names[str(nic.ip)]} if nic.ip in names else {}


def _dns(root: ET.Element, records: Mapping[str, Iterable[str]], forwarders: Iterable[str]) -> None:
    dns = _add(root, "dns", forwardPlainNames="no")
    for address in forwarders:
        _add(dns, "forwarder", addr=address)
    for address, names in records.items():
        host = _add(dns, "host", ip=address)
        for name in names:
            _add(host, "hostname", name)
