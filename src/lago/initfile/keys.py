"""The sections of an init file: every key, and what it may hold. What it is when absent, its spec says.

Keys of earlier Lago that this release doesn't take are listed too, as `gone`, for messages of their own.
"""

from __future__ import annotations

from typing import Final

from ..topology.given import DhcpRange, GuestFile, Share
from ..topology.spec import DiskSpec, DomainSpec, EnvSpec, NetSpec, NicSpec
from . import specs
from .sections import Field, Idle, ListOf, MappingOf, Section
from .values import (
    Builds,
    Choice,
    Device,
    Flag,
    Free,
    HostName,
    ImageFacts,
    IPv4,
    MachineName,
    Markup,
    Names,
    Path,
    Root,
    Size,
    Target,
    Text,
    Truthy,
    Url,
    Whole,
)

_NAME_RULE: Final = "a name is up to 63 letters, digits and . _ -, but first a letter or digit"
_NAME_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
_NET_NAME = Text("lab", _NAME_PATTERN, _NAME_RULE)
_NO_PATH = Text("1.10", r"[^/\s\x00-\x1f\x7f]+", "it is a name, not a path")
_PASSWORD: Final = Text("secret", free=True)
_COMMAND: Final = Text(
    "journalctl -b --no-pager", r"[^\x00]*[^\x00\s][^\x00]*", "a command for the guest's shell is expected", free=True
)
_STORED: Final = Idle("Lago finds this out by itself")

NIC: Final = Section(
    NicSpec,
    {
        "net": Field(_NET_NAME, "the network that it is plugged into", required="net: lab"),
        "ip": Field(
            IPv4("192.168.200.2", last=True), "its address; without it a free one is chosen, but none on a bridge net"
        ),
    },
    what="a network interface",
)

DISK: Final = Section(
    DiskSpec,
    {
        "type": Field(
            Choice(("template", "empty", "file"), older={"raw": "file"}),
            "an overlay on a template, an empty disk, or an image that exists",
        ),
        "name": Field(Text("root", _NAME_PATTERN, _NAME_RULE), "its name; root for the first, then disk1, disk2..."),
        "dev": Field(
            Device(
                Text(
                    "vda",
                    "vd[a-z]{1,2}|[sh]d[a-z]",
                    "vda to vdzz are possible, sda to sdz for virtio-scsi, hda to hdz for the CD drive of an iso",
                )
            ),
            "its device in the guest, vdX or, on virtio-scsi, sdX; without it the next free",
        ),
        "format": Field(
            Choice(("qcow2", "raw", "iso")), "format of an empty disk or of a file (qcow2); iso is a CD, read-only"
        ),
        "template_name": Field(Text("mini", _NO_PATH.pattern, _NO_PATH.rule), "the template"),
        "template_version": Field(_NO_PATH, "version of the template; without it the newest"),
        "template_type": Field(
            Choice(("lago", "qcow2")), "lago: a template by name; qcow2: the image at path, which is left as it is"
        ),
        "path": Field(
            Path("$LAGO_INITFILE_PATH/data.qcow2"),
            "the image of a file, or of template_type: qcow2; variables and ~ are expanded, what is relative is so to "
            "the init file",
        ),
        "url": Field(
            Url("https://example.org/data.qcow2"), "where the image of a file is fetched from; variables are expanded"
        ),
        "make_a_copy": Field(Truthy(), "copy the file into the environment instead of using it in place"),
        "size": Field(Size("", "1M", "1024P", "10G"), "its size, as qemu-img writes it; makes a template's disk grow"),
        "metadata": Field(ImageFacts(), "what a template would say about it, such as distro or bootstrap"),
        "build": Field(
            Builds(), "what is done to the image when it is made, in order: virt-customize with its options"
        ),
        "skip-export": Field(Flag(), "leave it out of exports"),
    },
    make=specs.disk,
    gone={"template": "write template_name"},
    idle={"root-partition": Idle("write it into metadata: {root-partition: ...}", keep=True)},
    what="a disk",
)

SHARE: Final = Section(
    Share,
    {
        "path": Field(Path("./src"), "the directory on the host", required="path: ./src"),
        "tag": Field(
            Text("src", r"[A-Za-z0-9._-]{1,36}", "a tag is up to 36 letters, digits and . _ -"),
            "what the guest calls it: mount -t virtiofs TAG /mnt",
            required="tag: src",
        ),
    },
    what="a shared directory",
)

_BOOTSTRAP: Final = Choice(
    ("credentials", "cloud-init", "virt-sysprep", "none"), aliases={True: "template", False: "none"}
)
_SERVICES: Final = Choice(
    ("systemd", "sysvinit", "systemd_container"), aliases={"systemdcontainer": "systemd_container"}
)

_IN_GUEST: Final = r'(/(?!\.{1,2}(/|$))[^/\x00-\x20\x7f"%\\:]+)+'
GUEST_FILE: Final = Section(
    GuestFile,
    {
        "content": Field(Text("hello", r"[^\x00]+", free=True), "what is in it", required="content: hello"),
        "mode": Field(Text("0755", "0?[0-7]{3}", "permissions are three octal digits such as 0755"), "its permissions"),
    },
    make=specs.guest_file,
    what="a file in the guest",
)

DOMAIN: Final = Section(
    DomainSpec,
    {
        "memory": Field(Size("M", "32M", "64T", '512, "512M" or "2G"'), "memory in MiB"),
        "vcpu": Field(Whole(1, 255), "number of virtual processors"),
        "nics": Field(ListOf(NIC, "network interfaces, such as [{net: lab}]"), "network interfaces, in order"),
        "disks": Field(ListOf(DISK, "disks, such as [{template_name: mini}]"), "disks; the first one boots"),
        "based-on": Field(
            Text("small"), "the prototype whose values hold where the machine says nothing; mappings are merged"
        ),
        "cpu_model": Field(
            Text("Nehalem", r"[A-Za-z0-9._-]+", "libvirt's names are letters, digits and . _ -"),
            "a processor that libvirt knows by this name; without it the host's",
        ),
        "cpu_custom": Field(
            Root(Markup("cpu")), "libvirt's <cpu> element: @name is an attribute, #text the text, a list repeats"
        ),
        "shares": Field(
            ListOf(SHARE, "shares, such as [{path: ./src, tag: src}]"),
            "host directories for the guest, by virtiofs",
        ),
        "machine": Field(
            Text("q35", r"[a-z0-9][a-z0-9.-]*", "QEMU's machine types are such as q35, pc or pc-q35-7.2"),
            "QEMU's machine type",
        ),
        "firmware": Field(Choice(("bios", "uefi")), "what the machine starts with"),
        "secure_boot": Field(Flag(), "start signed boot loaders only; needs firmware: uefi"),
        "tpm": Field(Flag(), "give it an emulated TPM 2.0"),
        "boot": Field(
            Choice(("kernel", "disk")),
            "kernel: the template's kernel at once; disk: the boot loader of the first disk; without it kernel if the "
            "template has one",
        ),
        "bootstrap": Field(
            _BOOTSTRAP, "how it learns its name and keys; true or nothing is the way of its template, false is none"
        ),
        "cloud-init": Field(Free(), "more for the user-data of bootstrap: cloud-init; mappings merge, lists grow"),
        "files": Field(
            MappingOf(
                Text("/etc/motd", _IN_GUEST, 'it must begin with / and be without spaces, .. and %:"\\'),
                GUEST_FILE,
                "files",
            ),
            "files that bootstrap puts into the guest, by path, each with content and, maybe, mode",
        ),
        "distro": Field(Text("debian12"), "what it runs, if its template doesn't say"),
        "root-password": Field(_PASSWORD, "password of its root"),
        "ssh-user": Field(
            Text("root", r"[A-Za-z_][A-Za-z0-9_.-]*\$?", "a user name is letters, digits and . _ -"),
            "user to log in as; without it config ssh_user",
        ),
        "ssh-password": Field(_PASSWORD, "password to log in with, where the key is not taken"),
        "boot_time_sec": Field(
            Whole(1, 86400), "seconds it may take to answer ssh (times 5 when emulated); without it config boot_timeout"
        ),
        "service_provider": Field(_SERVICES, "what manages its services; without it Lago finds out"),
        "vm-type": Field(Text("default", _NAME_PATTERN, _NAME_RULE), "plugin for the machine"),
        "vm-provider": Field(Text("local-libvirt", _NAME_PATTERN, _NAME_RULE), "plugin that runs it"),
        "metadata": Field(Free(), "whatever you like; deploy-scripts is a list of scripts for lago deploy"),
        "groups": Field(Names(Text("web")), "groups of machines that it belongs to"),
        "deploy-after": Field(
            Names(Text("db")), "machines whose deploy scripts must have ended before those of this one begin"
        ),
        "artifacts": Field(
            ListOf(Text("/var/log/messages", "/[^\x00]*", "a path in the guest begins with /"), "paths in the guest"),
            "paths to collect from the guest",
        ),
        "artifact-commands": Field(
            MappingOf(Text("journal", _NAME_PATTERN, _NAME_RULE), _COMMAND, "commands"),
            "commands whose output is collected from the guest, by the name of the file that it goes to",
        ),
        "skip-export": Field(Flag(), "leave it out of exports"),
        "type": Field(Choice(("ova",)), "ova: memory, processors and first disk are those of the appliance at url"),
        "url": Field(
            Url("https://example.org/app.ova"),
            "where the appliance is fetched from; variables are expanded",
            attribute="ova",
        ),
    },
    make=specs.domain,
    idle={
        "guest-agent": _STORED,
        "snapshots": _STORED,
        "name": _STORED,
        "mgmt_net": _STORED,
        **dict.fromkeys(("cpus", "vCpu"), Idle("it never had an effect; the number of processors is vcpu", keep=True)),
    },
    renamed={"cpu": "vcpu", "service_class": "service_provider"},
    what="a machine",
)

DHCP: Final = Section(
    DhcpRange,
    {
        "start": Field(
            Whole(2, 254, "the last number of an address,"), "first dynamic address", required="start: 100", empty=0
        ),
        "end": Field(
            Whole(2, 254, "the last number of an address,"), "last dynamic address", required="end: 199", empty=0
        ),
    },
    what="a range",
)

NET: Final = Section(
    NetSpec,
    {
        "type": Field(
            Choice(("nat", "isolated", "bridge"), older={"network": "nat"}),
            "nat: guests reach the world; isolated: each other only; bridge: a bare switch, without addresses",
        ),
        "management": Field(Flag(), "whether machines are managed over it"),
        "gw": Field(IPv4("192.168.200.1"), "its gateway, and so its /24; without it a free one is chosen"),
        "dhcp": Field(DHCP, "addresses given to guests that Lago doesn't know"),
        "ipv6": Field(Flag(), "whether guests get IPv6 addresses too, in fd8f:1391:3a82::/48"),
        "mtu": Field(Whole(576, 65521), "largest packet, in bytes"),
        "dns_domain_name": Field(HostName("lab.example"), "domain of its machines; lago.local on management nets"),
        "dns_records": Field(
            MappingOf(HostName(), Target(), "addresses"), "more names, each with an address or the name it stands for"
        ),
    },
    make=specs.net,
    idle={
        "main_dns": Idle("it does nothing; a net with management: true answers for all names"),
        "name": _STORED,
        "mapping": Idle("names and addresses follow from nics; write others as dns_records", keep=True),
        "dns_forward": _STORED,
    },
    what="a network",
)

_DOMAINS = MappingOf(MachineName(frozenset({"localhost"})), DOMAIN, "machines")

ENVIRONMENT: Final = Section(
    EnvSpec,
    {
        "prototypes": Field(MappingOf(Text("small"), DOMAIN, "machines"), "machines for others to be based on"),
        "domains": Field(_DOMAINS, "the machines", required="domains: {vm0: {}}", empty={}),
        "nets": Field(MappingOf(_NET_NAME, NET, "networks"), "the networks"),
        "faults": Field(
            MappingOf(_NET_NAME, Names(Text("partition web / db")), "faults"),
            "what may be broken on purpose by a name, each as behind lago fault; lago fault named NAME does so",
        ),
    },
    make=specs.environment,
    what="an environment",
    also=", or a name that begins with x- for what Lago shall ignore",
)
