"""Memory of a guest that is taken away from it: files hold it, of a file system that is never swapped out.

A balloon device would be the way from outside, but no machine has one: QEMU gives what a balloon takes back to the host
by making holes in the file of the memory, and that is a snapshot's, or that of forks.
"""

from __future__ import annotations

import re
from typing import Final

from ..errors import VMError
from .inside import as_root
from .machine import Machine

LEAST: Final = 16
"""MiB that a guest must have free beyond what it uses: with less its kernel ends its processes, also the ssh server."""

# ramfs is in every kernel (Documentation/filesystems/ramfs-rootfs-initramfs.rst), and a tmpfs may be swapped out.
_HOLD: Final = """
place=/run/lago-squeeze
held=0
test -e $place/held && held=$(($(stat -c %s $place/held) / 1048576))
[ "$held" = "$1" ] && exit
if [ "$1" = 0 ]; then umount $place && rmdir $place; exit; fi
while read -r name value unit; do [ "$name" = MemAvailable: ] && free=$((value / 1024)); done </proc/meminfo
if [ $((free + held - $1)) -lt "$2" ]; then echo "free $((free + held))"; exit; fi
if [ "$held" = 0 ]; then mkdir -p $place && mount -t ramfs -o mode=700 lago-squeeze $place || exit; fi
rm -f $place/held
dd if=/dev/zero of=$place/new bs=1048576 count="$1" 2>&1 && mv $place/new $place/held && exit
umount $place
exit 1
"""


def hold(machine: Machine, megabytes: int) -> None:
    """Take memory away from a guest that is logged in to, so much as it was not given; 0 gives all back.

    Args:
        megabytes: MiB.

    Raises:
        VMError: it uses too much of it, or its user can't become root.
        SSHError: the connection is not there, or was lost.
    """
    said = as_root(machine, _HOLD, str(megabytes), str(LEAST), what="its memory can't be taken away")
    if found := re.search(r"^free (\d+)$", said, re.MULTILINE):
        most = int(found[1])
        raise VMError(
            f"{machine.name()} can't do with {machine.spec.memory - megabytes} MiB: it has {most} MiB that nobody uses",
            hint=f"{machine.spec.memory - max(0, most - LEAST)}M is the least now",
        )
