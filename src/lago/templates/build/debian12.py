"""The recipe `debian12`: a small Debian with systemd, OpenSSH and the guest agent of QEMU; and how it is installed."""

from __future__ import annotations

import os
from signal import SIGKILL

from ...errors import CommandError, TemplateError
from ...host.programs import run, search_path
from . import hooks
from .apt import Apt
from .ext4 import EPOCH
from .recipe import Recipe
from .tree import Tree

_UNITS = "etc/systemd/system"

_MASKED = (
    "dev-hugepages.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "systemd-networkd-wait-online.service",
    "systemd-pstore.service",
)
"""What a machine that lives for hours does not need, and what makes it start later."""

_NETWORK = """\
[Match]
Name=en* eth*

[Network]
DHCP=ipv4
LinkLocalAddressing=ipv6
IPv6DuplicateAddressDetection=0

[DHCPv4]
ClientIdentifier=mac
UseDomains=yes
"""

_HOST_KEYS = """\
[Unit]
Description=Make the ssh host key of this machine
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
Before=ssh.service

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N "" -C "" -f /etc/ssh/ssh_host_ed25519_key
ExecStart=/usr/bin/sync /etc/ssh/ssh_host_ed25519_key /etc/ssh/ssh_host_ed25519_key.pub /etc/ssh

[Install]
WantedBy=multi-user.target
"""


def _network(index: int) -> str:
    # The first nic that has a gateway shall win.
    return _NETWORK.replace("en* eth*", f"eth{index}") + f"RouteMetric={100 + index}\n"


RECIPE = Recipe(
    name="debian12",
    suite="bookworm",
    base="install",
    packages=(
        "ca-certificates",
        "dbus",
        "iproute2",
        "iputils-ping",
        "kmod",
        "openssh-server",
        "qemu-guest-agent",
        "systemd",
        "systemd-resolved",
        "systemd-sysv",
        "udev",
    ),
    texts={
        "etc/fstab": "/dev/vda / ext4 defaults,noatime 0 1\n",
        "etc/hostname": "localhost\n",
        "etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
        "etc/machine-id": "",
        # Newer than /usr, so that nothing is done on a first boot that was done here.
        "etc/.updated": f"TIMESTAMP_NSEC={EPOCH}000000000\n",
        "var/.updated": f"TIMESTAMP_NSEC={EPOCH}000000000\n",
        "etc/ssh/sshd_config.d/lago.conf": "HostKey /etc/ssh/ssh_host_ed25519_key\nUseDNS no\nPrintMotd no\n",
        **{f"etc/systemd/network/10-eth{index}.network": _network(index) for index in range(10)},
        "etc/systemd/network/20-others.network": _NETWORK,
        f"{_UNITS}/lago-hostkeys.service": _HOST_KEYS,
        # The name of the machine is set by systemd-tmpfiles, from a credential; DHCP is to send it.
        f"{_UNITS}/systemd-networkd.service.d/lago.conf": "[Unit]\nAfter=systemd-tmpfiles-setup.service\n",
    },
    links={
        "etc/resolv.conf": "../run/systemd/resolve/stub-resolv.conf",
        "etc/mtab": "../proc/self/mounts",
        f"{_UNITS}/multi-user.target.wants/lago-hostkeys.service": "../lago-hostkeys.service",
        f"{_UNITS}/multi-user.target.wants/systemd-networkd.service": "/lib/systemd/system/systemd-networkd.service",
        f"{_UNITS}/multi-user.target.wants/ssh.service": "/lib/systemd/system/ssh.service",
        f"{_UNITS}/sockets.target.wants/systemd-networkd.socket": "/lib/systemd/system/systemd-networkd.socket",
        **{f"{_UNITS}/{unit}": "/dev/null" for unit in _MASKED},
    },
    size=16 << 30,
    metadata={"distro": "debian12", "arch": "x86_64", "bootstrap": "credentials", "ssh-user": "root"},
)

_LEFT_OUT = (
    "boot/",
    "dev/",
    "proc/",
    "run/",
    "sys/",
    "tmp/",
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    "etc/ssh/ssh_host_",
    f"{_UNITS}/getty.target.wants/",
    "var/cache/apt/",
    "var/cache/debconf/",
    "var/cache/ldconfig/aux-cache",
    "var/lib/apt/lists/",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/log/",
)
_EMPTY_DIRECTORIES = (
    "boot",
    "dev",
    "proc",
    "run",
    "sys",
    "var/cache/apt/archives/partial",
    "var/cache/debconf",
    "var/lib/apt/lists/partial",
    "var/log",
)
_DOCUMENTS = ("doc", "info", "lintian", "locale", "man")


_AT_THE_END = ("etc/hostname", "etc/machine-id", "etc/resolv.conf")
"""Files of a recipe that the system has otherwise while it is installed, so that names resolve."""


def fill(tree: Tree, recipe: Recipe, apt: Apt, work: str) -> None:
    """Install the packages of a recipe into a minimal system, run its commands there, and put all that into `tree`."""
    archive = os.path.join(work, "system.tar")
    memory = os.path.join(work, "memory")
    os.mkdir(memory)
    if '"' in memory:
        # apt can't be told of it, and in mounts of our own another directory will do.
        memory = next(path for path in ("/mnt", "/media", "/srv") if not work.startswith(f"{path}/"))
    options = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _DOCUMENTS]
    options += [f"--aptopt={line}" for line in apt.settings]
    # A file system in memory, in mounts of our own: whatever happens to us, nothing is left. Root needs no user
    # namespace, and has no range of ids for one.
    namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        namespaces += ["--user", "--map-auto", "--map-root-user"]
    argv = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=tar", "--architectures=amd64"]
    argv += ["--skip=chroot/mount/sys", f"--include={','.join(recipe.packages)}", *options]
    argv += [f"--customize-hook={hook}" for hook in hooks.write(recipe, work, without=_AT_THE_END)]
    argv += [recipe.suite, "-", apt.sources_file]
    run(["mmdebstrap", "--version"])
    in_memory = 'mount -t tmpfs -o mode=755 tmpfs "$TMPDIR" && exec "$@"'
    try:
        run(
            ["unshare", *namespaces, "sh", "-c", in_memory, "sh", *argv],
            env={"PATH": search_path(), "SOURCE_DATE_EPOCH": str(EPOCH), "TMPDIR": memory, "LC_ALL": "C.UTF-8"},
            cwd="/",
            output=archive,
            dies_with_us=SIGKILL,
        )
    except CommandError as error:
        raise hooks.explain(recipe, error) or TemplateError(
            "mmdebstrap cannot install the Debian system", details=error.details
        ) from None
    with open(archive, "rb") as file:
        tree.add_tar(file, lambda path: not path.startswith(_LEFT_OUT))
    os.unlink(archive)
    for path in _EMPTY_DIRECTORIES:
        tree.directory(path)
    if "systemd-resolved" in recipe.packages:
        _start_resolved_later(tree)
    tree.directory("tmp", 0o1777)
    tree.directory("root/.ssh", 0o700)
    recipe.add_files(tree, only=_AT_THE_END)


def _start_resolved_later(tree: Tree) -> None:
    # It comes with an order before nearly everything, ssh included, which cannot be undone by adding to its unit.
    unit = tree.read("usr/lib/systemd/system/systemd-resolved.service").decode()
    lines = [line for line in unit.splitlines() if not line.startswith("Before=")]
    text = "\n".join(lines).replace("WantedBy=sysinit.target", "WantedBy=multi-user.target")
    tree.remove(f"{_UNITS}/sysinit.target.wants/systemd-resolved.service")
    tree.file(f"{_UNITS}/systemd-resolved.service", text + "\n")
    tree.symlink(f"{_UNITS}/multi-user.target.wants/systemd-resolved.service", "../systemd-resolved.service")
