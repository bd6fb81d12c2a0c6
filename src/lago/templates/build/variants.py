"""Other forms of the template `debian12`: with cloud-init, and with sysvinit in place of systemd."""

from __future__ import annotations

from dataclasses import replace

from . import debian12
from .recipe import Command, File, Recipe

_BASE = debian12.RECIPE
_HOST_KEYS = "multi-user.target.wants/lago-hostkeys.service"

_CLOUD_CFG = """\
# Lago brings a seed disk; asking the network for others takes minutes.
datasource_list: [NoCloud, None]
ssh_genkeytypes: [ed25519]
# There is one only, and no program to make others.
locale: false
"""

CLOUD_INIT = replace(
    _BASE,
    name="debian12-cloudinit",
    packages=(*_BASE.packages, "cloud-init", "sudo"),
    texts={**_BASE.texts, "etc/cloud/cloud.cfg.d/90_lago.cfg": _CLOUD_CFG},
    # Host keys are made by cloud-init, which removes those that it finds.
    links={path: target for path, target in _BASE.links.items() if not path.endswith(_HOST_KEYS)},
    metadata={**_BASE.metadata, "bootstrap": "cloud-init"},
)

_SEED_SERVICE = """\
#!/bin/sh
### BEGIN INIT INFO
# Provides:          lago-seed
# Required-Start:    mountall udev
# Required-Stop:
# X-Start-Before:    networking
# Default-Start:     S
# Default-Stop:
# Short-Description: Read name and keys of this machine from a NoCloud seed
### END INIT INFO
[ "$1" = start ] || exit 0
mkdir -p /run/lago
/usr/lib/lago/seed
hostname -F /etc/hostname
key=/etc/ssh/ssh_host_ed25519_key
if [ ! -s $key ]; then
    rm -f $key $key.pub
    ssh-keygen -q -t ed25519 -N "" -C "" -f $key
    sync
fi
"""

_INTERFACES = "auto lo\niface lo inet loopback\n" + "".join(
    f"\nallow-hotplug eth{index}\niface eth{index} inet dhcp\n    metric {100 + index}\n" for index in range(10)
)

_TEXTS = ("etc/fstab", "etc/hostname", "etc/hosts", "etc/machine-id", "etc/ssh/sshd_config.d/lago.conf")

SYSVINIT = Recipe(
    name="debian12-sysvinit",
    suite=_BASE.suite,
    base="install",
    packages=(
        "ca-certificates",
        "ifupdown",
        "initscripts",
        "iproute2",
        "iputils-ping",
        "isc-dhcp-client",
        "kmod",
        "openssh-server",
        "qemu-guest-agent",
        "sysvinit-core",
        "udev",
    ),
    files={"usr/lib/lago/seed": ("mini-seed", 0o755)},
    texts={
        **{path: _BASE.texts[path] for path in _TEXTS},
        "etc/network/interfaces": _INTERFACES,
        "etc/resolv.conf": "",
    },
    links={"etc/mtab": "../proc/self/mounts"},
    own={"etc/init.d/lago-seed": File(_SEED_SERVICE.encode(), 0o755)},
    commands=(
        Command("update-rc.d lago-seed defaults", "debian12-sysvinit"),
        # No virtual terminals, on which nobody looks.
        Command("sed -i '/^[1-6]:.*getty/d' /etc/inittab", "debian12-sysvinit"),
    ),
    size=_BASE.size,
    metadata={**_BASE.metadata, "bootstrap": "cloud-init"},
)
"""Its machines read a seed disk by the program that `mini` has for it."""
