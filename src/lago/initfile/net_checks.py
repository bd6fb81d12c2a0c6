"""What the keys of networks, and of what is plugged into them, must mean together; others know DNS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from ..topology.address import Address
from ..topology.place import Place
from ..topology.spec import DomainSpec, EnvSpec, NetSpec, NicSpec
from .document import Mistake, quote
from .mistakes import expected

_PRIVATE: Final = "write one in 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16"


def management(nets: Iterable[NetSpec]) -> frozenset[str]:
    """Return the names of the management nets: of those that say so, or else of the first by name.

    A bridge has no addresses to manage machines by, so it comes last.
    """
    marked = frozenset(net.name for net in nets if net.management)
    return marked or frozenset(net.name for net in sorted(nets, key=lambda net: (net.type == "bridge", net.name))[:1])


def _nics(env: EnvSpec) -> Iterator[tuple[DomainSpec, NicSpec]]:
    return ((domain, nic) for domain in env.domains.values() for nic in domain.nics if nic.net)


def known_nets(env: EnvSpec) -> Iterator[Mistake]:
    """Check that a nic is plugged into a net that there is."""
    names = env.named_nets
    if names is None:
        return
    for _, nic in _nics(env):
        at, name = nic.at / "net", nic.net
        if not names:
            message = f"unknown net {quote(name)}, the file names no nets: add nets: {{{name}: {{}}}}"
            yield Mistake(at, message)
        elif name not in names:
            nearest = expected(name, names, spell=quote)
            listed = f" (nets: {', '.join(names)})" if nearest.endswith("?") else ""
            yield Mistake(at, f"unknown net {quote(name)}{nearest}{listed}")


def one_management_net(env: EnvSpec) -> Iterator[Mistake]:
    """Check that a machine that is on nets is on one management net."""
    managing, marked = management(env.nets.values()), any(net.management for net in env.nets.values())
    for domain in env.domains.values():
        touched = dict.fromkeys(nic.net for nic in domain.nics if nic.net)
        found = [net for net in touched if net in managing]
        if len(found) == 1 or not touched:
            continue
        if found:
            message = f"a machine can be on one management net, this is on {' and '.join(found)}"
        elif marked:
            message = f"no nic is on a management net, add {{net: {min(managing)}}}"
        else:
            (first,) = managing or ("",)
            message = (
                "no nic is on the management net; as no net has management: true it is "
                f"{first}, the first by name: add {{net: {first}}}, or mark a net that all machines are on"
            )
        yield Mistake(domain.at / "nics", message, of_key=True, unless=domain.at / "nics")


def bare_bridges(env: EnvSpec) -> Iterator[Mistake]:
    """Check that a bridge has neither addresses nor names."""
    for net in env.nets.values():
        for key in ("gw", "dhcp", "dns_domain_name", "dns_records"):
            if net.type == "bridge" and key in net.at.keys:
                message = "a bridge net is a bare switch without addresses or names, remove it"
                yield Mistake(net.at / key, message, of_key=True)


def addressed_nets(env: EnvSpec) -> Iterator[NetSpec]:
    """Yield the nets that have addresses and names."""
    return (net for net in env.nets.values() if net.type != "bridge")


def gateways(env: EnvSpec) -> Iterator[Mistake]:
    """Check that a gateway is an address that one can have."""
    for net in addressed_nets(env):
        if net.gw and not net.gw.private:
            yield Mistake(net.at / "gw", f"{net.gw} is not a private address, {_PRIVATE}")
        elif net.gw and net.gw.of_no_machine:
            message = f"a gateway can't end in .{net.gw.last}, write {net.gw.with_last(1)}"
            yield Mistake(net.at / "gw", message)


def _gateway(net: NetSpec) -> Address | None:
    """The gateway that a net asks for, unless it can't have it."""
    return net.gw if net.gw and net.gw.private and not net.gw.of_no_machine else None


def dhcp_ranges(env: EnvSpec) -> Iterator[Mistake]:
    """Check that a range begins before it ends, without the gateway in it."""
    for net in addressed_nets(env):
        dhcp, gateway = net.dhcp, _gateway(net)
        if not dhcp or not dhcp.start or not dhcp.end:
            continue
        if dhcp.start > dhcp.end:
            yield Mistake(dhcp.at, f"the range ends ({dhcp.end}) before it starts ({dhcp.start}), swap them")
        elif gateway and gateway.last in dhcp.octets:
            message = f"the range from {dhcp.start} to {dhcp.end} holds the gateway {gateway}, leave it out"
            yield Mistake(dhcp.at, message)


def no_address_on_bridges(env: EnvSpec) -> Iterator[Mistake]:
    """Check that a nic on a bridge has no address."""
    for _, nic in _nics(env):
        if nic.ip and nic.net in env.nets and env.nets[nic.net].type == "bridge":
            message = f"{nic.net} is a bridge, on which guests address themselves: remove it, or make the net isolated"
            yield Mistake(nic.at / "ip", message)


class _Layout(NamedTuple):
    """Where a net is, if the file says it, with the place that does; and who has addresses on it."""

    net: NetSpec
    gateway: Address | None
    place: Place
    static: list[tuple[DomainSpec, NicSpec, Address]]


def _layouts(env: EnvSpec) -> Iterator[_Layout]:
    """Place nets: one without gateway is where the first of its addresses is."""
    static: dict[str, list[tuple[DomainSpec, NicSpec, Address]]] = {name: [] for name in env.nets}
    for domain, nic in _nics(env):
        if nic.ip and nic.net in static:
            static[nic.net].append((domain, nic, nic.ip))
    for net in addressed_nets(env):
        gateway, place = _gateway(net), net.at / "gw"
        if not gateway and "gw" in net.at.keys:
            continue  # A gateway that is wrong says nothing about the addresses.
        for _, nic, ip in static[net.name]:
            if not gateway and ip.private:
                gateway, place = ip.with_last(1), nic.at / "ip"
        yield _Layout(net, gateway, place, static[net.name])


def private_addresses(env: EnvSpec) -> Iterator[Mistake]:
    """Check that what says where a net is, is an address that one can have."""
    for net, _, _, static in _layouts(env):
        if net.gw:
            continue
        for _, nic, ip in static:
            if ip.private:
                break
            if not ip.only_last:
                yield Mistake(nic.at / "ip", f"{ip} is not a private address, {_PRIVATE}")


def own_subnets(env: EnvSpec) -> Iterator[Mistake]:
    """Check that every net has its own /24."""
    owners: dict[str, str] = {}
    for net, gateway, place, _ in _layouts(env):
        if gateway and (other := owners.setdefault(gateway.subnet, net.name)) != net.name:
            yield Mistake(place, f"{gateway.subnet}.0/24 is the subnet of the net {other} already, choose another")


def own_addresses(env: EnvSpec) -> Iterator[Mistake]:
    """Check that an address is in the subnet of its net, and its owner's alone."""
    for net, gateway, _, static in _layouts(env):
        users: dict[int, str] = {}
        for domain, nic, ip in static:
            if gateway and not ip.only_last and ip.subnet != gateway.subnet:
                # One that is not private is told as that.
                if ip.private or net.gw:
                    example = gateway.with_last(ip.last)
                    message = f"is not in {gateway.subnet}.0/24, the subnet of {net.name}, write for example {example}"
                    yield Mistake(nic.at / "ip", f"{ip} {message}")
            elif message := _taken(net, gateway.last if gateway else 1, ip, users):
                yield Mistake(nic.at / "ip", message)
            else:
                users[ip.last] = domain.name


def _taken(net: NetSpec, last_of_gateway: int, ip: Address, users: Mapping[int, str]) -> str:
    """Why a machine can't have an address on a net; empty if it can."""
    if ip.of_no_machine:
        return f"no machine can have an address that ends in .{ip.last}, choose another from .2 to .254"
    if ip.last == last_of_gateway:
        return f"{ip} is the address of the gateway of {net.name}, choose another"
    if net.dhcp and ip.last in net.dhcp.octets:
        return f"{ip} is in the dhcp range of {net.name} (.{net.dhcp.start} to .{net.dhcp.end}), choose one outside it"
    return f"{ip} is the address of {users[ip.last]} already, choose another" if ip.last in users else ""
