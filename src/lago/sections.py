"""The sections of an init file: every key, what it may hold, what it is when absent.

Keys of earlier Lago that this release doesn't take yet are listed as `later`, for a message of their own.
"""

from __future__ import annotations

from typing import Final

from .constants import DEFAULT_MEMORY_MIB, DEFAULT_VCPU
from .fields import Address, Choice, DnsLabel, Field, Flag, Free, ListOf, MappingOf, Names, Section, Size, Text, Whole

_DOMAIN_LATER = (
    "based-on cpu cpu_model cpu_custom type url root-password ssh-user ssh-password service_provider service_class "
    "vm-type vm-provider distro bootstrap boot_time_sec skip-export guest-agent snapshots"
)
_DISK_LATER = "template_type path url make_a_copy metadata build skip-export root-partition"
_NET_LATER = "dns_domain_name dns_records main_dns mtu"

_NET_NAME = Text(
    "lab",
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}",
    "a name is up to 63 letters, digits and . _ -, but first a letter or digit",
)

NIC: Final = Section(
    {
        "net": Field(_NET_NAME, "the network that it is plugged into", required="net: lab"),
        "ip": Field(Address("192.168.200.2"), "its address; without it a free one is chosen"),
    },
    what="a network interface",
)

DISK: Final = Section(
    {
        "type": Field(Choice(("template", "empty"), later=("file",)), "an overlay on a template, or an empty disk"),
        "name": Field(
            Text("root", _NET_NAME.pattern, _NET_NAME.rule), "its name; root for the first, then disk1, disk2..."
        ),
        "dev": Field(
            Text("vda", "vd[a-z]{1,2}", "vda to vdzz are possible"), "its device in the guest; without it the next free"
        ),
        "format": Field(Choice(("qcow2", "raw"), later=("iso",)), "format of an empty disk", "qcow2"),
        "template_name": Field(Text("mini", r"[^/\s\x00-\x1f\x7f]+", "it is a name, not a path"), "the template"),
        "template_version": Field(
            Text("1.10", r"[^/\s\x00-\x1f\x7f]+", "it is a name, not a path"), "version of the template"
        ),
        "size": Field(Size("", "1M", "1024P", "10G"), "its size, as qemu-img writes it"),
    },
    later=frozenset(_DISK_LATER.split()),
    what="a disk",
)

DOMAIN: Final = Section(
    {
        "memory": Field(Size("M", "32M", "64T", '512, "512M" or "2G"'), "memory in MiB", DEFAULT_MEMORY_MIB),
        "vcpu": Field(Whole(1, 255), "number of virtual processors", DEFAULT_VCPU),
        "nics": Field(ListOf(NIC, "network interfaces, such as [{net: lab}]"), "network interfaces, in order", ()),
        "disks": Field(ListOf(DISK, "disks, such as [{template_name: mini}]"), "disks; the first one boots", ()),
        "metadata": Field(Free(), "whatever you like"),
        "groups": Field(Names(Text("web")), "groups of machines that it belongs to", ()),
        "artifacts": Field(
            ListOf(Text("/var/log/messages", "/[^\x00]*", "a path in the guest begins with /"), "paths in the guest"),
            "paths to collect from the guest",
            (),
        ),
    },
    later=frozenset(_DOMAIN_LATER.split()),
    what="a machine",
)

DHCP: Final = Section(
    {
        "start": Field(Whole(2, 254, "the last number of an address,"), "first dynamic address", required="start: 100"),
        "end": Field(Whole(2, 254, "the last number of an address,"), "last dynamic address", required="end: 199"),
    },
    what="a range",
)

NET: Final = Section(
    {
        "type": Field(Choice(("nat",), later=("bridge", "isolated")), "how it is connected to the world", "nat"),
        "management": Field(Flag(), "whether machines are managed over it", False),
        "gw": Field(Address("192.168.200.1"), "its gateway, and so its /24; without it a free one is chosen"),
        "dhcp": Field(DHCP, "addresses given to guests that Lago doesn't know"),
    },
    later=frozenset(_NET_LATER.split()),
    what="a network",
)

_DOMAINS = MappingOf(DnsLabel(frozenset({"localhost"})), DOMAIN, "machines")

ENVIRONMENT: Final = Section(
    {
        "domains": Field(_DOMAINS, "the machines", {}, required="domains: {vm0: {}}"),
        "nets": Field(MappingOf(_NET_NAME, NET, "networks"), "the networks", {}),
    },
    later=frozenset({"prototypes"}),
    what="an environment",
    also=", or a name that begins with x- for what Lago shall ignore",
)
