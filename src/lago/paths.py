"""The names of files in a prefix. Nothing else knows them."""

from __future__ import annotations

import os
import re
import sys
from typing import Final

from .errors import PrefixError

_CONTROL: Final = r"[\x00-\x1f\x7f-\x9f\ufffe\uffff]"
"""What has no place in XML 1.0, or ends a line of ssh's."""


def check_place(path: str, remedy: str = "choose another directory") -> None:
    """Refuse a directory whose files libvirt or ssh would look for under another name.

    Args:
        remedy: what to do about it.

    Raises:
        PrefixError: it is such a directory.
    """
    try:
        same = path.encode() == os.fsencode(path)
    except UnicodeEncodeError:
        same = False
    why = ""
    if not same:
        why = "is no UTF-8"
        if (encoding := sys.getfilesystemencoding()) != "utf-8":
            why, remedy = (
                f"is not ASCII, and the locale's encoding is {encoding}",
                "use a locale of UTF-8: LC_ALL=C.UTF-8",
            )
    elif re.search(_CONTROL, path):
        why = "has a line break or another control character"
    elif "${" in path:
        why = "has ${, which ssh takes for a variable"
    if why:
        raise PrefixError(f"{path!r} can't be used: the name {why}", hint=remedy)


class Paths:
    """Where things are in the prefix at `prefix`."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def _prefixed(self, *args: str) -> str:
        return os.path.join(self._prefix, *args)

    def prefix(self) -> str:
        """The prefix directory itself."""
        return self._prefix

    def uuid(self) -> str:
        """File with the 32 hex digits that identify this prefix."""
        return self._prefixed("uuid")

    def listed(self) -> str:
        """The same digits, in a file to which the list of this user's environments has a hard link."""
        return self._prefixed("listed")

    def prefix_lagofile(self) -> str:
        """This file marks a prefix that is initialised."""
        return self._prefixed("initialized")

    def old_lagofile(self) -> str:
        """The marker that releases before 0.10 wrote."""
        return self._prefixed(".lago")

    def lock(self) -> str:
        """Lock file that every operation on the prefix holds."""
        return self._prefixed(".lock")

    def ssh_id_rsa(self) -> str:
        """Private key for the guests (ed25519 under its historic name)."""
        return self._prefixed("id_rsa")

    def ssh_id_rsa_pub(self) -> str:
        """Public half of `ssh_id_rsa`."""
        return self._prefixed("id_rsa.pub")

    def metadata(self) -> str:
        """JSON with facts about the prefix, such as `libvirt_url`."""
        return self._prefixed("metadata")

    def images(self, *path: str) -> str:
        """Disk images."""
        return self._prefixed("images", *path)

    def nvram(self, vm: str) -> str:
        """What the UEFI firmware of the machine keeps while it is off: boot entries and keys."""
        return self.images(f"{vm}_nvram.fd")

    def tpm(self, *path: str) -> str:
        """TPMs of machines: their contents below `state`, and the authority that certifies them in `ca`."""
        return self._prefixed("tpm", *path)

    def tpm_log(self, libvirt_name: str = "") -> str:
        """Log of the program that is a machine's TPM; without a name the directory of these."""
        return self.logs("swtpm", *([f"{libvirt_name}-swtpm.log"] if libvirt_name else []))

    def logs(self, *path: str) -> str:
        """Logs: `lago.log`, `libvirtd.log`, and `<vm>.console.log` per machine (`.old` is that of the time before)."""
        return self._prefixed("logs", *path)

    def scripts(self, *path: str) -> str:
        """Copies of the deploy scripts, each under its whole path with `_` in place of `/`."""
        return self._prefixed("scripts", *path)

    def console_log(self, vm: str) -> str:
        """What the machine wrote on its serial console since it was started."""
        return self.logs(f"{vm}.console.log")

    def console_undone(self, vm: str) -> str:
        """How many bytes of its console log, from the begin, are of what a revert has undone."""
        return self.logs(f"{vm}.console.undone")

    def saved_consoles(self, *path: str) -> str:
        """What machines had said on their consoles when a snapshot was taken; forks begin with it."""
        return self.logs("saved", *path)

    def virt(self, *path: str) -> str:
        """The resolved environment as JSON: `env`, `net-<name>`, `vm-<name>`."""
        return self._prefixed("virt", *path)

    def snapshot_index(self) -> str:
        """JSON about all snapshots, and which images disks are made of since the first of them."""
        return self.virt("snapshots")

    def snapshots(self, *path: str) -> str:
        """Memory of machines in snapshots."""
        return self._prefixed("snapshots", *path)

    def paused(self) -> str:
        """This file marks a fork whose machines stand paused until they are used."""
        return self.virt("paused")

    def pace_lock(self, vm: str) -> str:
        """Lock file that the program holds which leaves the machine little processor time."""
        return self.virt(f".{vm}.pace.lock")

    def journal(self) -> str:
        """What happened in the environment, a JSON object a line; see the page on the journal."""
        return self._prefixed("journal.jsonl")

    def older_journal(self, number: int | str) -> str:
        """What happened before that; 1 is the youngest."""
        return self._prefixed(f"journal.{number}.jsonl")

    def watched(self) -> str:
        """JSON that says what the journal has already of machines' consoles, states and addresses."""
        return self.virt("watched")

    def watch_lock(self) -> str:
        """Lock file that the program holds which listens to machines for the journal."""
        return self.virt(".watch.lock")

    def captures(self, *path: str) -> str:
        """Packets of nets: `NET-TIME.pcapng`, those before it in `NET-TIME.1.pcapng`, what is known in `.json`."""
        return self._prefixed("captures", *path)

    def capture_lock(self, net: str, owner: str = "") -> str:
        """Lock file that the program holds which records the packets of a net for somebody."""
        return self.virt(f".{net}+{owner}.capture.lock" if owner else f".{net}.capture.lock")

    def screens(self, *path: str) -> str:
        """What screens and consoles of machines showed when tests failed: `VM-TIME.png` or `VM-TIME.txt`."""
        return self._prefixed("screens", *path)

    def faults(self) -> str:
        """JSON that says what is broken on purpose, and what was."""
        return self.virt("faults")

    def backing(self) -> str:
        """JSON that lists the images elsewhere which images of this prefix lie over, as they said at first."""
        return self.virt("backing")

    def hypervisor(self) -> str:
        """JSON that says where this prefix's libvirt lives."""
        return self._prefixed("virt", "hypervisor")

    def hypervisor_lock(self) -> str:
        """Lock file that a private hypervisor holds while it lives."""
        return self._prefixed("virt", ".hypervisor.lock")
