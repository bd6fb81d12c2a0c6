"""Network faults as one ruleset of nftables, loaded as a whole: what holds is what it says, whatever held before.

It filters what bridges forward, by the devices of machines and not by addresses: what is broadcast does not pass
either, and nobody gets around it by another address. Lago's own way in is left alone: ARP, DHCP and what the host
connects to, on management nets.
https://wiki.nftables.org/wiki-nftables/index.php/Bridge_filtering
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

TABLE: Final = "lago_faults"

BETWEEN: Final = "between"
INWARD: Final = "inward"
OUTWARD: Final = "outward"

_HOOKS: Final = {BETWEEN: "forward", INWARD: "input", OUTWARD: "output"}
_NOT_NEIGHBOURS: Final = (
    "ether type != { arp, ip6 }",
    "ether type ip6 meta l4proto != ipv6-icmp",
    "icmpv6 type != { nd-neighbor-solicit, nd-neighbor-advert }",
)
_MILLION: Final = 1_000_000
_BURST: Final = 65536
"""Bytes: guests send segments of up to 64 KiB to each other as one packet."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: what it is about, and what happens to such packets.

    Attributes:
        chain: `between` machines, `inward` to the host and what is behind it, or `outward` from there.
        sources: devices that packets come from; none: any.
        targets: devices that they go to; none: any.
        match: more of nftables' words.
        verdict: what happens.
    """

    chain: str
    sources: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    match: str = ""
    verdict: str = "drop"

    def text(self) -> str:
        """The rule as nftables reads it."""
        words = [_devices("iifname", self.sources), _devices("oifname", self.targets), self.match, self.verdict]
        return " ".join(word for word in words if word)


def _devices(what: str, names: Iterable[str]) -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"{what} {{ {quoted} }}" if quoted else ""


def of_or_for(devices: Sequence[str], match: str = "", verdict: str = "drop") -> Iterator[Rule]:
    """Rules about all that these devices send and get."""
    some = tuple(devices)
    if not some:
        return
    yield Rule(BETWEEN, some, (), match, verdict)
    yield Rule(BETWEEN, (), some, match, verdict)
    yield Rule(INWARD, some, (), match, verdict)
    yield Rule(OUTWARD, (), some, match, verdict)


def across(sources: Sequence[str], targets: Sequence[str], match: str = "", verdict: str = "drop") -> Iterator[Rule]:
    """Rules about what goes from some devices to others."""
    if sources and targets:
        yield Rule(BETWEEN, tuple(sources), tuple(targets), match, verdict)


def across_but_neighbours(sources: Sequence[str], targets: Sequence[str]) -> Iterator[Rule]:
    """Rules about all that goes from some devices to others, but for what tells where they are.

    Without an answer to that nothing would come the other way either.
    """
    for match in _NOT_NEIGHBOURS:
        yield from across(sources, targets, match)


def lost(share: float) -> str:
    """A match of as many packets, at random."""
    return f"numgen random mod {_MILLION} < {max(1, round(share * _MILLION))}"


def over(limit: str) -> str:
    """A match of packets that are more than a rate which has a name, as several rules share it."""
    return f'limit name "{limit}"'


def ruleset(rules: Iterable[Rule], gateways: Sequence[str], limits: Mapping[str, int]) -> str:
    """What `nft -f -` reads: it takes the place of what it was told before; without rules there is nothing of ours.

    Args:
        gateways: addresses of the host on management nets.
        limits: rates in bits a second, by the name that `over` has.
    """
    lines = [f"add table bridge {TABLE}", f"delete table bridge {TABLE}"]
    found = list(rules)
    if not found:
        return "\n".join(lines) + "\n"
    lines.append(f"table bridge {TABLE} {{")
    for name, rate in limits.items():
        lines.append(f"  limit {name} {{ rate over {rate // 8} bytes/second burst {_BURST} bytes; }}")
    for chain, hook in _HOOKS.items():
        lines.append(f"  chain {chain} {{ type filter hook {hook} priority 0; policy accept;")
        lines += [f"    {one}" for one in _own_way(chain, gateways)]
        lines += [f"    {one.text()}" for one in found if one.chain == chain]
        lines.append("  }")
    return "\n".join([*lines, "}"]) + "\n"


def _own_way(chain: str, gateways: Sequence[str]) -> list[str]:
    """What passes in spite of all faults: the connections that Lago itself makes, and what a guest needs for them."""
    if chain == BETWEEN or not gateways:
        return []
    addresses = f"{{ {', '.join(gateways)} }}"
    if chain == INWARD:
        # A guest's answer is any segment but the one that opens a connection.
        answers = f"ip daddr {addresses} ip protocol tcp tcp flags & (syn | ack) != syn accept"
        return ["ether type arp accept", "udp dport 67 accept", answers]
    return ["ether type arp accept", "udp sport 67 accept", f"ip saddr {addresses} ip protocol tcp accept"]
