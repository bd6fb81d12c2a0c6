"""The kinds of faults of the network: what they are called, and what people say of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .model import Kind, Option
from .values import answer, flag, rate, seconds, share, spell_rate, spell_seconds, spell_share
from .values import ports as read_ports

if TYPE_CHECKING:
    from .network import Network


def _network() -> Network:
    # Imported by who breaks something, as it takes libvirt.
    from .network import NETWORK

    return NETWORK


_BY_NAME: Final = ("arp", "icmp", "igmp", "ip", "ipv6", "sctp", "tcp", "udp", "vrrp")


def _protocol(raw: object) -> str:
    text = str(raw).lower()
    if text not in _BY_NAME and not (text.isdecimal() and int(text) < 256):
        raise ValueError(f"{raw!r} is no protocol: write {', '.join(_BY_NAME)}, or its number of IP")
    return text


_ONE_WAY: Final = Option(
    name="one_way", help="only what goes from the first to the second; the other way all passes", read=flag
)


def _share(name: str, said: str) -> Option:
    return Option(name=name, metavar="SHARE", help=said, read=share, spell=spell_share)


KINDS: Final = (
    Kind(
        name="cut",
        help="cut a machine, a nic or a net off",
        description="Nothing passes to or from a machine, a nic (web:eth1) or all on a net (net:back), as if a cable "
        "were cut further away. Lago's own way in stays: lago shell and your tests still reach the machine. With "
        "--unplug its guest sees that the link is down, and nothing passes at all.",
        target="VM|VM:NIC|net:NET",
        options=(Option(name="unplug", help="pull the plug: the guest sees no link, Lago has none either", read=flag),),
        by=_network,
    ),
    Kind(
        name="partition",
        help="let groups of machines not reach each other",
        description="Groups of machines, such as `web,app / db`, reach each other within and not across. Machines in "
        "no group, and what is outside, are reached by all as before.",
        target="GROUP",
        least=2,
        between=" / ",
        options=(
            Option(name="net", metavar="NET", help="on this net only; otherwise on all"),
            _ONE_WAY,
        ),
        by=_network,
    ),
    Kind(
        name="slow",
        help="make links slow, lossy or narrow",
        description="Of all that a machine or a nic sends and gets, or of what passes between two machines (web/db) or "
        "groups of them (web,app/db).",
        target="VM|VM:NIC|VM/VM",
        options=(
            Option(
                name="delay",
                metavar="TIME",
                help="let a round trip take so much longer, such as 200ms",
                read=seconds,
                spell=spell_seconds,
            ),
            Option(
                name="jitter",
                metavar="TIME",
                help="let that be so much more or less, at random",
                read=seconds,
                spell=spell_seconds,
            ),
            Option(
                name="loss",
                metavar="SHARE",
                help="lose so many packets, such as 10%%, either way",
                read=share,
                spell=spell_share,
            ),
            Option(
                name="rate",
                metavar="RATE",
                help="let no more pass than so much, such as 1mbit, either way",
                read=rate,
                spell=spell_rate,
            ),
            _share("duplicate", "deliver so many packets twice"),
            _share("reorder", "let so many packets overtake those that are delayed"),
            _share("corrupt", "change a bit of so many packets"),
        ),
        by=_network,
    ),
    Kind(
        name="drop",
        help="drop packets by port or protocol",
        description="Of all that a machine or a nic sends and gets, or of what passes between two machines (web/db) or "
        "groups of them. Lago's own way in stays.",
        target="VM|VM:NIC|VM/VM",
        options=(
            Option(name="tcp", metavar="PORTS", help="TCP to and from such ports: 80,443,8000-8100", read=read_ports),
            Option(name="udp", metavar="PORTS", help="the same of UDP", read=read_ports),
            Option(
                name="protocol",
                metavar="NAME",
                help=f"all of a protocol: {', '.join(_BY_NAME)}, or its number of IP; may be said several times",
                read=_protocol,
                many=True,
            ),
            _ONE_WAY,
        ),
        by=_network,
    ),
    Kind(
        name="dns",
        help="let the name server not answer, or wrongly",
        description="The name server of the environment, which answers on its management nets.",
        target="",
        least=0,
        most=0,
        options=(
            Option(name="fail", help="it does not answer", read=flag),
            Option(
                name="answer",
                metavar="NAME=ADDRESS",
                help="it answers so for a name; may be said several times",
                read=answer,
                many=True,
            ),
        ),
        by=_network,
    ),
)
