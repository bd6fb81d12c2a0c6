"""What the keys of an init file must mean together: names, addresses and networks; others know disks and DNS.

Each rule takes the tables that `values` read, with None for what is wrong already, and complains or completes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..constants import DEPLOY_SCRIPTS, OVIRT_SCRIPTS
from ..topology.names import nic_names, same, usable
from .disk_checks import check_disks
from .dns_checks import check_dns
from .faults import At, did_you_mean, quoted
from .values import octets, remark

Table = dict[str, Any]

ADDRESS_ONLY = (0, 0, 0)
"""An address such as 0.0.0.7 asks for the last octet alone, wherever the network is."""


def check(top: At, env: Table) -> None:
    """Apply every rule; adds `management`, the names of the management nets, to the environment."""
    env["management"] = _management(env["nets"])
    for name, domain in env["domains"].items():
        at = top["domains"][name]
        _known_nets(top, at["nics"], domain, env)
        _one_management_net(at["nics"], domain, env)
        domain["disks"] = check_disks(at["disks"], domain["disks"], ova=domain["type"] == "ova")
        _appliance(at, domain)
        _machine(at, domain)
    _own_names(top["domains"], env["domains"])
    _own_files(top, env["domains"])
    for name, net in env["nets"].items():
        if net["type"] == "bridge":
            _bridge(top["nets"][name], net)
        _gateway(top["nets"][name]["gw"], net)
        _dhcp(top["nets"][name]["dhcp"], net)
    _no_address_on_bridges(top, env)
    _subnets(top, env)
    check_dns(top, env)


def _management(nets: Table) -> frozenset[str]:
    marked = frozenset(name for name, net in nets.items() if net["management"])
    # A bridge has no addresses to manage machines by, so it comes last.
    return marked or frozenset(sorted(nets, key=lambda name: (nets[name]["type"] == "bridge", name))[:1])


def _machine(at: At, domain: Table) -> None:
    if domain["cpu_model"] and domain["cpu_custom"]:
        at["cpu_custom"].fault("cpu_model is given too, remove one of them", of_key=True)
    if domain["secure_boot"] and domain["firmware"] != "uefi":
        at["secure_boot"].fault("it needs firmware: uefi, add that", of_key=True)
    if domain["secure_boot"] and domain["machine"] == "pc":
        at["machine"].fault("secure_boot needs the machine q35, remove it")
    if domain["service_class"] and domain["service_provider"]:
        at["service_class"].fault("service_provider is given too, remove this", of_key=True)
    _scripts(at["metadata"], domain["metadata"])
    tags: set[str] = set()
    for index, share in enumerate(domain["shares"]):
        tag = share and share["tag"]
        if tag and tag in tags:
            at["shares"][index]["tag"].fault(f"{quoted(tag)} is the tag of another share, choose another")
        tags.add(tag)


def _appliance(at: At, domain: Table) -> None:
    if domain["type"] and not domain["url"] and at["url"].sound():
        at.fault("url is missing, write url: file:///path/to/APPLIANCE.ova", of_key=True)
    elif domain["url"] and not domain["type"] and at["type"].sound():
        at["url"].fault("only an appliance has one, write type: ova", of_key=True)
    given = {key for key in ("memory", "vcpu") if at[key].value is not None}
    domain["from_ova"] = frozenset({"memory", "vcpu"} - given if domain["type"] else ())


def _scripts(at: At, metadata: Table | None) -> None:
    for key in (DEPLOY_SCRIPTS, OVIRT_SCRIPTS):
        scripts = (metadata or {}).get(key)
        if scripts is None:
            continue
        if not isinstance(scripts, list):
            at[key].wrong("a list of scripts such as [setup.sh]")
            continue
        for index, script in enumerate(scripts):
            if not isinstance(script, str) or not script:
                at[key][index].wrong("the path of a script")


def _bridge(at: At, net: Table) -> None:
    for key in ("gw", "dhcp", "dns_domain_name", "dns_records"):
        if at[key].value is not None:
            at[key].fault("a bridge net is a bare switch without addresses or names, remove it", of_key=True)
            net[key] = None


def _no_address_on_bridges(top: At, env: Table) -> None:
    bridges = {name for name, net in env["nets"].items() if net["type"] == "bridge"}
    for vm, domain in env["domains"].items():
        for index, nic in _nics(domain):
            if nic["net"] in bridges and nic["ip"]:
                nic["ip"] = top["domains"][vm]["nics"][index]["ip"].fault(
                    f"{nic['net']} is a bridge, on which guests address themselves: remove it, or make the net isolated"
                )


def _nics(domain: Table) -> Iterator[tuple[int, Table]]:
    return ((index, nic) for index, nic in enumerate(domain["nics"]) if nic and nic["net"])


def _known_nets(top: At, at: At, domain: Table, env: Table) -> None:
    given = top["nets"].value
    if isinstance(given, dict):
        given = {name: net for name, net in given.items() if name in env["nets"] or not remark(name)}
    for index, nic in _nics(domain):
        name = nic["net"]
        if not given:
            at[index]["net"].fault(f"unknown net {quoted(name)}, the file names no nets: add nets: {{{name}: {{}}}}")
        elif isinstance(given, dict) and name not in given:
            nearest = did_you_mean(name, given, quote=True)
            listed = f" (nets: {', '.join(given)})" if nearest.endswith("?") else ""
            at[index]["net"].fault(f"unknown net {quoted(name)}{nearest}{listed}")


def _one_management_net(at: At, domain: Table, env: Table) -> None:
    touched = dict.fromkeys(nic["net"] for _, nic in _nics(domain))
    found = [net for net in touched if net in env["management"]]
    if len(found) == 1 or not touched or not at.sound():
        return
    if found:
        at.fault(f"a machine can be on one management net, this is on {' and '.join(found)}", of_key=True)
    elif any(net["management"] for net in env["nets"].values()):
        at.fault(f"no nic is on a management net, add {{net: {min(env['management'])}}}", of_key=True)
    else:
        (first,) = env["management"] or ("",)
        at.fault(
            f"no nic is on the management net; as no net has management: true it is {first}, the first by name: "
            f"add {{net: {first}}}, or mark a net that all machines are on",
            of_key=True,
        )


def _own_names(at: At, domains: Table) -> None:
    """The name of a machine must be no other's, nor one that another gets for a nic, in DNS or as a host name."""
    owners: dict[str, str] = {}
    for name in filter(usable, domains):
        other = owners.setdefault(same(name), name)
        if other != name:
            case = (
                "they differ in case only" if other.lower() == name.lower() else "their guests' host names are the same"
            )
            at[name].fault(f"{name} and {other} can't be told apart, {case}: choose another name", of_key=True)
    for name, domain in domains.items():
        nets = [nic["net"] for _, nic in _nics(domain)]
        for net, aliases in zip(nets, nic_names(name, nets), strict=True):
            for alias in dict.fromkeys(owners.get(same(alias)) for alias in aliases):
                if alias is not None:
                    at[alias].fault(f"this is also the name of {name} on the net {net}, choose another", of_key=True)


def _own_files(top: At, domains: Table) -> None:
    """Two disks can't be the same file: `b_c` of the machine a, and `c` of the machine a_b."""
    owners: dict[str, tuple[str, str]] = {}
    for name, domain in domains.items():
        for disk in domain["disks"]:
            vm, other = owners.setdefault(f"{name}_{disk['name']}", (name, disk["name"]))
            if (vm, other) != (name, disk["name"]) and vm != name:
                top["domains"][name].fault(
                    f"its disk {disk['name']} would be the same file as the disk {other} of {vm}, rename one of them",
                    of_key=True,
                )


def is_private(address: tuple[int, ...]) -> bool:
    """Whether RFC 1918 leaves the address to private networks."""
    first, second = address[:2]
    return first == 10 or (first == 172 and 16 <= second < 32) or (first == 192 and second == 168)


_PRIVATE = "write one in 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16"


def _gateway(at: At, net: Table) -> None:
    address = octets(net["gw"]) if net["gw"] else None
    if address and not is_private(address):
        net["gw"] = at.fault(f"{net['gw']} is not a private address, {_PRIVATE}")
    elif address and address[3] in (0, 255):
        first = _dotted((*address[:3], 1))
        net["gw"] = at.fault(f"a gateway can't end in .{address[3]}, write {first}")


def _dhcp(at: At, net: Table) -> None:
    dhcp = net["dhcp"]
    if not dhcp or not dhcp["start"] or not dhcp["end"]:
        net["dhcp"] = None
        return
    start, end = dhcp["start"], dhcp["end"]
    if start > end:
        net["dhcp"] = at.fault(f"the range ends ({end}) before it starts ({start}), swap them")
    elif net["gw"] and start <= int(net["gw"].rpartition(".")[2]) <= end:
        at.fault(f"the range from {start} to {end} holds the gateway {net['gw']}, leave it out")


def _dotted(address: tuple[int, ...]) -> str:
    return ".".join(map(str, address))


def _subnets(top: At, env: Table) -> None:
    """Every net has its own /24, and every address in it one owner."""
    static: dict[str, list[tuple[str, int, str]]] = {name: [] for name in env["nets"]}
    for vm, domain in env["domains"].items():
        for index, nic in _nics(domain):
            if nic["ip"] and nic["net"] in static:
                static[nic["net"]].append((vm, index, nic["ip"]))
    owners: dict[tuple[int, ...], str] = {}
    for name, net in env["nets"].items():
        gateway, place = (octets(net["gw"]) if net["gw"] else None), top["nets"][name]["gw"]
        if not gateway and top["nets"][name]["gw"].value is not None:
            continue  # A gateway that is wrong says nothing about the addresses.
        for vm, index, ip in static[name]:
            at, address = top["domains"][vm]["nics"][index]["ip"], octets(ip) or ()
            if not gateway and address[:3] != ADDRESS_ONLY:
                # A net without gateway is where its first address says.
                if not is_private(address):
                    at.fault(f"{ip} is not a private address, {_PRIVATE}")
                    continue
                gateway, place = (*address[:3], 1), at
        if gateway:
            other = owners.setdefault(gateway[:3], name)
            if other != name:
                place.fault(f"{_dotted(gateway[:3])}.0/24 is the subnet of the net {other} already, choose another")
        _addresses(top, name, net, gateway, static[name])


def _addresses(
    top: At, name: str, net: Table, gateway: tuple[int, ...] | None, static: list[tuple[str, int, str]]
) -> None:
    users: dict[int, str] = {}
    last_of_gateway = gateway[3] if gateway else 1
    for vm, index, ip in static:
        at, address = top["domains"][vm]["nics"][index]["ip"], octets(ip) or ()
        last = address[3]
        if gateway and address[:3] not in (gateway[:3], ADDRESS_ONLY):
            subnet = _dotted(gateway[:3])
            if is_private(address) or net["gw"]:
                at.fault(f"{ip} is not in {subnet}.0/24, the subnet of {name}, write for example {subnet}.{last}")
        elif last in (0, 255):
            at.fault(f"no machine can have an address that ends in .{last}, choose another from .2 to .254")
        elif last == last_of_gateway:
            at.fault(f"{ip} is the address of the gateway of {name}, choose another")
        elif net["dhcp"] and net["dhcp"]["start"] <= last <= net["dhcp"]["end"]:
            start, end = net["dhcp"]["start"], net["dhcp"]["end"]
            at.fault(f"{ip} is in the dhcp range of {name} (.{start} to .{end}), choose one outside it")
        elif last in users:
            at.fault(f"{ip} is the address of {users[last]} already, choose another")
        else:
            users[last] = vm
