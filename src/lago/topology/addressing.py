"""Addresses: which net is where, which nic has which address. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from ..errors import LagoError
from .address import Address

if TYPE_CHECKING:
    from .spec import EnvSpec, NetSpec

PRIVATE_SUBNETS = range(200, 256)
"""Third octets of the 192.168.N.0/24 that nets without gateway get."""

IPV6_SITE: Final = "fd8f:1391:3a82"
_LEAST_IPV6_MTU: Final = 1280


def gateways(spec: EnvSpec, subnets: Mapping[str, Address]) -> dict[str, Address]:
    """The gateway of every net that has addresses; `subnets` are gateways decided already.

    Raises:
        LagoError: there are not enough subnets.
    """
    nets = {name: net for name, net in spec.nets.items() if net.type != "bridge"}
    wanted = {name: subnets.get(name) or net.gw for name, net in nets.items()}
    for domain in spec.domains.values():
        for nic in domain.nics:
            if nic.ip and not wanted[nic.net] and not nic.ip.only_last:
                wanted[nic.net] = nic.ip.with_last(1)
    taken = {gw.subnet for gw in wanted.values() if gw}
    free = (n for n in PRIVATE_SUBNETS if f"192.168.{n}" not in taken)
    found: dict[str, Address] = {}
    for name, gw in wanted.items():
        gw = gw or next((Address.of(192, 168, number, 1) for number in free), None)
        if gw is None:
            raise LagoError(
                f"no subnet is left for the net {name}: 192.168.{PRIVATE_SUBNETS[0]}.0/24 to "
                f"192.168.{PRIVATE_SUBNETS[-1]}.0/24 are all used by this environment",
                hint=f"give the net a gateway elsewhere, such as gw: 10.0.{len(found) % 256}.1",
            )
        found[name] = gw
    return found


def addresses(spec: EnvSpec, gateways: Mapping[str, Address]) -> dict[tuple[str, int], Address]:
    """The address of every nic on a net that has some, by machine and index.

    Raises:
        LagoError: there are not enough addresses, or two are the same.
    """
    static: dict[str, dict[int, str]] = {name: {} for name in gateways}
    for vm, domain in spec.domains.items():
        for nic in domain.nics:
            if nic.ip:
                gateway = gateways[nic.net]
                other = static[nic.net].setdefault(nic.ip.last, vm)
                if other is not vm or nic.ip.last == gateway.last:
                    owner = "the gateway" if other is vm else other
                    raise LagoError(
                        f"{nic.ip} of {vm} would be {gateway.with_last(nic.ip.last)} "
                        f"on the net {nic.net}, as is {owner}",
                        hint="choose another last number for it",
                    )
    free = {name: _free_octets(spec.nets[name], gateways[name], static[name]) for name in gateways}
    found = {}
    for vm, domain in spec.domains.items():
        for index, nic in enumerate(domain.nics):
            if nic.net not in gateways:
                continue
            last = nic.ip.last if nic.ip else next(free[nic.net], None)
            if last is None:
                raise LagoError(
                    f"the net {nic.net} has no address left for {vm}",
                    hint="a net holds 253 nics, fewer with a dhcp range: shorten the range or add a net",
                )
            found[vm, index] = gateways[nic.net].with_last(last)
    return found


def _free_octets(net: NetSpec, gateway: Address, static: Mapping[int, str]) -> Iterator[int]:
    dynamic = net.dhcp.octets if net.dhcp else range(0)
    return (n for n in range(2, 255) if n != gateway.last and n not in static and n not in dynamic)


def mac_of_address(ip: Address) -> str:
    """The hardware address of a nic with this address."""
    return ":".join(["54", "52", *(f"{octet:02x}" for octet in ip.octets)])


def mac_of_name(name: str) -> str:
    """The hardware address of a nic without address; `name` is unique to it."""
    # Imported here: hardly any environment has such nics.
    import hashlib

    digits = hashlib.sha256(name.encode(), usedforsecurity=False).hexdigest()
    return ":".join(["52", "54", *(digits[n : n + 2] for n in range(0, 8, 2))])


def ipv6_prefixes(spec: EnvSpec, gateways: Mapping[str, Address]) -> dict[str, str]:
    """The first half, a /64, of the IPv6 addresses of every net that has them, without the colons at its end.

    192.168.N.0/24 goes with fd8f:1391:3a82:N::/64, N spelled in decimal. Other subnets get numbers above those.
    """
    taken: set[int] = set()
    found = {}
    nets = [name for name in gateways if spec.nets[name].ipv6 and spec.nets[name].mtu >= _LEAST_IPV6_MTU]
    for name in sorted(nets, key=lambda name: gateways[name].octets[:2] != (192, 168)):
        first, second, third, _ = gateways[name].octets
        number = int(str(third), 16)
        if (first, second) != (192, 168):
            number = 0x1000 + (first * 7919 + second * 256 + third) % 0xE000
            while number in taken:
                number = 0x1000 + (number + 1 - 0x1000) % 0xE000
        taken.add(number)
        found[name] = f"{IPV6_SITE}:{number:x}"
    return found


def ipv6_of_mac(prefix: str, mac: str) -> str:
    """The address that a guest with this hardware address makes for itself (RFC 4291, modified EUI-64).

    The DHCP server gives out the same, so that names lead to guests that ask it and to guests that don't.
    """
    first, *rest = (int(part, 16) for part in mac.split(":"))
    octets = [first ^ 2, *rest[:2], 0xFF, 0xFE, *rest[2:]]
    groups = (f"{high << 8 | low:x}" for high, low in zip(octets[::2], octets[1::2], strict=True))
    return f"{prefix}:{':'.join(groups)}"
