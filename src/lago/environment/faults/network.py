"""Faults of the network: which there are, and how all that hold are made true in one act.

Under a hypervisor of ours, the packets of machines pass a bridge in a network namespace of ours, so nftables tells them
apart. On a libvirt that is shared with others only what libvirt itself offers is used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from ...errors import HostError, HypervisorError, LagoError
from ...host.programs import package_hint, run, which
from . import delays, links, names, rules, shaping
from .model import NET, Fault
from .places import Port, disjoint, group, must_run, nics, ports, states
from .rules import Rule

if TYPE_CHECKING:
    from ...topology.model import Nic
    from ...virt import VirtEnv

_PRIVATE: Final = "make the environment with libvirt_url = private, the default"
_NUMBERS: Final = {"igmp": "2", "vrrp": "112"}


class Network:
    """What makes network faults true: rules of nftables, links of nics, and names that DNS answers for."""

    def check(self, env: VirtEnv, fault: Fault) -> str:
        """As of `Means`."""
        groups = [group(env, word) for target in fault.targets for word in _sides(target)]
        _check_running(env, fault)
        _CHECKS.get(fault.kind, _nothing)(env, fault, groups)
        if env.hypervisor.shared:
            return links.means(fault)
        if fault.settings.get("answer"):
            return "dnsmasq: its file of names"
        if fault.settings.get("unplug"):
            return "libvirt: the link is down"
        if which("nft") is None:
            raise HypervisorError("the program nft is not installed", hint=package_hint("nft"))
        return _slow_means(env, fault, groups) if fault.kind == "slow" else "nftables"

    def change(self, env: VirtEnv, gone: Sequence[Fault], new: Sequence[Fault], now: Sequence[Fault]) -> None:
        """Make true what `now` says, whatever was before."""
        there = ports(env)
        if not env.hypervisor.shared:
            _load(env, [*gone, *new], now, there)
            delays.hold(env, [*gone, *new], now, there)
        links.plug(env, now, there)
        links.narrow(env, [*gone, *new], now, there)
        names.answer(env, [*gone, *new], now)


def _sides(target: str) -> list[str]:
    """The two groups of a pair, or what else a target is."""
    return target.split("/")


def _check_running(env: VirtEnv, fault: Fault) -> None:
    """Raise VMNotRunning if a machine that is named is down, or nobody runs on a net."""
    words = [word for target in fault.targets for side in _sides(target) for word in side.split(",")]
    must_run(env, [vm for word in words if not word.startswith(f"{NET}:") for vm, _ in nics(env, word)])
    found = states(env)
    for word in words:
        if word.startswith(f"{NET}:") and all(found[vm] == "down" for vm, _ in nics(env, word)):
            raise LagoError(f"nobody runs on the net {word.partition(':')[2]}, so nothing of it can be broken")


def _load(env: VirtEnv, changed: Sequence[Fault], now: Sequence[Fault], there: Sequence[Port]) -> None:
    """Let nftables, and netem where it is used, have what all faults say."""
    limits: dict[str, int] = {}
    found = [rule for fault in now for rule in _rules(env, fault, there, limits)]
    plan = shaping.plan(way for fault in now if fault.means.startswith(shaping.BY) for way in _ways(env, fault, there))
    # Told before they are dropped elsewhere: a packet's last priority counts.
    found += plan.rules
    text = rules.ruleset(found, _gateways(env), limits)
    # By its path: where the search path of a user does not lead to programs of root's, that in there doesn't either.
    nft = which("nft") or "nft"
    done = run(env.hypervisor.command([nft, "-f", "-"]), input_data=text.encode(), check=False)
    if done:
        raise HypervisorError("nftables refuses the rules of the faults", details=f"{done.complaint}\n{text}")
    if any(one.means.startswith(shaping.BY) for one in changed):
        shaping.load(env, [port.device for port in there], plan.classes)


def _ways(env: VirtEnv, fault: Fault, there: Sequence[Port]) -> Iterator[tuple[Fault, shaping.Way]]:
    """The ways of packets that a fault is about, each once."""
    for target in fault.targets:
        first, *rest = [_devices(group(env, side), there) for side in _sides(target)]
        others = rest[0] if rest else [port.device for port in there]
        pairs = [(one, other) for one in first for other in others if one != other]
        both = dict.fromkeys([*pairs, *((other, one) for one, other in pairs)])
        yield from ((fault, way) for way in both)
        if not rest:
            yield from ((fault, ("", one)) for one in first)


def _devices(nics: Iterable[tuple[str, Nic]], there: Iterable[Port], net: str | None = None) -> list[str]:
    """The devices of nics of machines that run."""
    wanted = {(vm, nic.name) for vm, nic in nics if net in (None, nic.net)}
    return [port.device for port in there if (port.vm, port.nic) in wanted]


def _rules(env: VirtEnv, fault: Fault, there: Sequence[Port], limits: dict[str, int]) -> Iterator[Rule]:
    def devices(words: str) -> list[str]:
        return _devices(group(env, words), there, fault.settings.get("net"))

    if fault.kind == "cut":
        if not fault.settings.get("unplug"):
            yield from rules.of_or_for([device for target in fault.targets for device in devices(target)])
    elif fault.kind == "partition":
        groups = [devices(target) for target in fault.targets]
        for place, sources in enumerate(groups):
            for other, targets in enumerate(groups):
                if place != other and not fault.settings.get("one_way"):
                    yield from rules.across(sources, targets)
                elif place < other:
                    yield from rules.across_but_neighbours(sources, targets)
    elif fault.kind == "drop":
        for match in _matches(fault):
            yield from _either(fault, devices, match)
    elif fault.kind == "slow":
        yield from _slow(fault, devices, limits)
    elif fault.kind == "dns" and fault.settings.get("fail"):
        for family, addresses in (("ip", _gateways(env)), ("ip6", _gateways6(env))):
            if addresses:
                match = f"meta l4proto {{ tcp, udp }} th dport 53 {family} daddr {{ {', '.join(addresses)} }}"
                yield Rule(rules.INWARD, match=match)


def _gateways(env: VirtEnv) -> list[str]:
    """Addresses of the host on management nets, where its name server answers too."""
    return [str(net.spec.gw) for net in env.get_nets().values() if net.is_management() and net.spec.gw]


def _gateways6(env: VirtEnv) -> list[str]:
    return [f"{net.spec.ipv6}::1" for net in env.get_nets().values() if net.is_management() and net.spec.ipv6]


def _either(fault: Fault, devices: Callable[[str], list[str]], match: str) -> Iterator[Rule]:
    """Rules for what goes between the groups of a pair, or is of or for what else a target is."""
    for target in fault.targets:
        first, *rest = [devices(side) for side in _sides(target)]
        for other in rest:
            yield from rules.across(first, other, match)
            if not fault.settings.get("one_way"):
                yield from rules.across(other, first, match)
        if not rest:
            yield from rules.of_or_for(first, match)


def _matches(fault: Fault) -> Iterator[str]:
    """What packets a `drop` is about."""
    for protocol in ("tcp", "udp"):
        if numbers := fault.settings.get(protocol):
            for end in ("dport", "sport"):
                yield f"meta l4proto {protocol} th {end} {{ {numbers} }}"
    for name in fault.settings.get("protocol", ()):
        if name in ("arp", "ip"):
            yield f"ether type {name}"
        elif name == "ipv6":
            yield "ether type ip6"
        elif name == "icmp":
            yield "meta l4proto { icmp, ipv6-icmp }"
        else:
            yield f"meta l4proto {_NUMBERS.get(name, name)}"


def _slow(fault: Fault, devices: Callable[[str], list[str]], limits: dict[str, int]) -> Iterator[Rule]:
    if "loss" in fault.settings:
        yield from _either(fault, devices, rules.lost(fault.settings["loss"]))
    if "rate" in fault.settings and not fault.means.startswith(shaping.BY):
        for place, target in enumerate(fault.targets):
            sides = [devices(side) for side in _sides(target)]
            for direction, (sources, targets) in enumerate((sides, sides[::-1]) if len(sides) > 1 else ()):
                limit = f"{fault.id}_{place}_{direction}"
                limits[limit] = fault.settings["rate"]
                yield from rules.across(sources, targets, rules.over(limit))
            for device in sides[0] if len(sides) == 1 else ():
                yield from _narrow(device, f"{fault.id}_{place}_{device}", fault.settings["rate"], limits)


def _narrow(device: str, limit: str, rate: int, limits: dict[str, int]) -> Iterator[Rule]:
    """Rules for what a nic sends, together, and for what it gets."""
    limits |= {f"{limit}_out": rate, f"{limit}_in": rate}
    for rule in rules.of_or_for([device]):
        yield dataclasses.replace(rule, match=rules.over(f"{limit}_{'out' if rule.sources else 'in'}"))


def _slow_means(env: VirtEnv, fault: Fault, groups: Sequence[Sequence[tuple[str, Nic]]]) -> str:
    """How links are made slow here. Raises HostError if the kernel can't, and nobody else."""
    shaped = shaping.SETTINGS & set(fault.settings)
    if shaped and shaping.possible(env):
        return shaping.BY + (" and nftables" if "loss" in fault.settings else "")
    if not shaped - {"rate"}:
        return "nftables" + (": what is more than the rate is lost" if shaped else "")
    remedy = "load it: modprobe sch_netem (Debian's package linux-image-amd64 has it, Fedora's kernel-modules-extra)"
    if lacking := sorted(shaped - {"rate", "delay", "jitter"}):
        raise HostError(
            f"this kernel has no netem, without which nothing can {', '.join(lacking)} packets", hint=remedy
        )
    if any("/" in target for target in fault.targets):
        raise HostError(
            "this kernel has no netem, without which only all that a nic sends and gets can be delayed, and not what "
            "passes between two machines",
            hint=remedy,
        )
    if off := [vm for some in groups for vm, _ in some if not delays.possible(env.get_vm(vm))]:
        raise HostError(
            f"this kernel has no netem, and QEMU can't delay the packets of {off[0]}, which the kernel handles (vhost)",
            hint=remedy,
        )
    return delays.told(fault.settings["delay"])


def _nothing(_env: VirtEnv, _fault: Fault, _groups: Sequence[Sequence[tuple[str, Nic]]]) -> None:
    """Check nothing more."""


def _check_partition(env: VirtEnv, fault: Fault, groups: Sequence[Sequence[tuple[str, Nic]]]) -> None:
    disjoint(groups, "partition")
    if fault.settings.get("one_way") and len(groups) > 2:
        raise LagoError("a partition that is one-way has two groups", hint="the first does not reach the second")
    _check_net(env, fault, groups)


def _check_net(env: VirtEnv, fault: Fault, groups: Sequence[Sequence[tuple[str, Nic]]]) -> None:
    if (net := fault.settings.get("net")) is None:
        return
    env.get_net(net)
    for words, some in zip(fault.targets, groups, strict=True):
        if not any(nic.net == net for _, nic in some):
            raise LagoError(f"{words} is not on the net {net}", hint="leave --net out for all nets")


def _check_pair(_env: VirtEnv, fault: Fault, groups: Sequence[Sequence[tuple[str, Nic]]]) -> None:
    for target in fault.targets:
        sides = _sides(target)
        if len(sides) > 2:
            raise LagoError(f"{target} is between more than two", hint="write web/db, or web,app/db")
    paired = iter(groups)
    for target in fault.targets:
        disjoint([next(paired) for _ in _sides(target)], "link")
    if fault.kind == "drop" and not {"tcp", "udp", "protocol"} & set(fault.settings):
        raise LagoError(
            "drop says neither a port nor a protocol", hint="--tcp 5432, --udp 53 or --protocol icmp; cut drops all"
        )
    if fault.kind == "slow":
        _check_slow(fault)
    if fault.settings.get("one_way") and any(len(_sides(target)) == 1 for target in fault.targets):
        raise LagoError("one-way is between two machines", hint="write web/db for what goes from web to db")


def _check_slow(fault: Fault) -> None:
    if not fault.settings:
        raise LagoError(
            "slow does not say how", hint="--delay 200ms, --loss 10% or --rate 1mbit; cut lets nothing pass"
        )
    for name in ("jitter", "reorder"):
        if name in fault.settings and "delay" not in fault.settings:
            raise LagoError(f"slow: {name} is about packets that are delayed", hint=f"--delay 200ms --{name} ...")
    if fault.settings.get("jitter", 0) > fault.settings.get("delay", 0):
        raise LagoError("slow: the jitter is more than the delay", hint="packets can't come before they are sent")


def _check_dns(env: VirtEnv, fault: Fault, _groups: Sequence[Sequence[tuple[str, Nic]]]) -> None:
    names.check(env, fault)


_CHECKS: Final = {"partition": _check_partition, "drop": _check_pair, "slow": _check_pair, "dns": _check_dns}


NETWORK: Final = Network()
"""The one that has all network faults."""
