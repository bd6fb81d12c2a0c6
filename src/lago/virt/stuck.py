"""What the end of a console log says of a guest that waits for somebody, and comes up by no waiting.

The words are those of SeaBIOS, EDK II, iPXE, GRUB, initramfs-tools, dracut, systemd and sshd, as they write them there.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_LAST: Final = 25
"""Lines at the end that are looked at: the longest of these farewells, with what led to it."""

_CONTROL: Final = re.compile(r"\x1b(?:\[[0-9;?=]*[A-Za-z]|[c()][AB0]?)|[\x00-\x08\x0b-\x1f\x7f]")
_BEFORE: Final = re.compile(r"^\(or press Control-D to continue\): (?=\S)|^\[\s*\d+\.\d+\] ")
"""What may stand before the words of a line: a prompt at which more was said, or when the kernel said it."""

_FIRMWARE: Final = re.compile(
    r"SeaBIOS \(|iPXE|Press (Ctrl-B|F12|ESC)|Booting from|Boot failed|No bootable device|BdsDxe:"
    r"|>>\s*Start|GRUB loading|Machine UUID"
)
_UNTRUSTED: Final = ("Access Denied", "Security Violation")
_SIGNATURE: Final = "let its boot loader be one that is signed, or write secure_boot: false"


class Stuck(NamedTuple):
    """How far a guest came, what it says of that on its console, and what to do."""

    what: str
    words: str
    remedy: str


class _Kind(NamedTuple):
    """One way to be stuck.

    Attributes:
        end: what the last line has.
        words: what the line has that is told: the last one with the first of these, or else with the next.
        needed: what else must be near the end.
    """

    what: str
    end: re.Pattern[str]
    words: tuple[str, ...]
    remedy: str
    needed: re.Pattern[str] = re.compile("")


_NO_SYSTEM: Final = "its firmware finds nothing to start"
_DISK: Final = "put a system on its first disk, one that this firmware can start (firmware: bios or uefi)"
_ROOT: Final = (
    "root= of its kernel must name a file system that is there, on a disk whose driver its initramfs has: virtio_blk, "
    "or virtio_scsi for dev: sdX"
)
_PROMPT: Final = r"[Pp]ress (Control-D|Enter) |Give root password for "

_KINDS: Final = (
    _Kind(
        _NO_SYSTEM,
        re.compile(
            r"No bootable device|BdsDxe: (No bootable option|Press any key|failed to (load|start) Boot)"
            r"|No more network devices|Nothing to boot: |^Shell>"
        ),
        (r"Boot failed: (?!could not read)", "Nothing to boot: ", "BdsDxe: failed", "No bootable|No more|BdsDxe|>"),
        _DISK,
    ),
    _Kind(
        "its boot loader finds nothing to start",
        re.compile(r"^grub( rescue)?>"),
        ("^error: ", "^grub"),
        "its disk misses files of the boot loader; boot: kernel goes without it, if the template has a kernel",
    ),
    _Kind(
        "its kernel runs, but finds no root file system",
        re.compile(r"^\(initramfs\)|Dropping to a shell!"),
        ("^ALERT! ", "^No root device specified", r"^\(initramfs\)"),
        _ROOT,
    ),
    _Kind(
        "its kernel runs, but finds no root file system",
        re.compile(rf"^dracut:/.*# *$|{_PROMPT}"),
        ("Warning: .*does not exist", "Warning: Could not boot"),
        _ROOT,
    ),
    _Kind(
        "its system stopped in emergency mode",
        re.compile(rf"{_PROMPT}|You are in (emergency|rescue) mode|boot into default mode|Exit the shell to con|# *$"),
        (
            "Failed to mount ",
            "Timed out waiting for device ",
            "Dependency failed for ",
            "(in|Entering) (emergency|rescue) mode",
        ),
        "most often a file system of its /etc/fstab is missing or damaged",
        needed=re.compile(r"(in|Entering) (emergency|rescue) mode|root account is locked"),
    ),
    _Kind(
        "its disk is full, so sshd does not start",
        re.compile(""),
        ("No space left on device",),
        "make its disk larger (`size` of the disk, and the file system on it), or remove something from its image",
        needed=re.compile(r"(Failed to start|FAILED).*(ssh|Secure Shell)|(sshd|dropbear).*No space left on device"),
    ),
)


def lines(console: str) -> list[str]:
    """What was said on a console, without empty lines, colours and what else moves a terminal's cursor."""
    shown = (_CONTROL.sub("", line).rstrip() for line in console.replace("\r\n", "\n").splitlines())
    return [line for line in shown if line]


def kernel_spoke(console: str) -> bool:
    """Whether more than firmware and the first words of a boot loader were said on a console."""
    return any(not _FIRMWARE.search(line) for line in lines(console))


def stuck(console: str) -> Stuck | None:
    """What a guest waits for, if its console ends as where nothing more comes by itself; None if more may come.

    Args:
        console: all that was said there. Whether more came meanwhile is for the caller to know.
    """
    said = [_BEFORE.sub("", line).strip() for line in lines(console)[-_LAST:]]
    for kind in _KINDS if said else ():
        words = next((line for one in kind.words for line in reversed(said) if re.search(one, line)), None)
        if words and kind.end.search(said[-1]) and any(map(kind.needed.search, said)):
            if kind.what != _NO_SYSTEM:
                return Stuck(kind.what, words, kind.remedy)
            refused = any(word in console for word in _UNTRUSTED)
            return Stuck(firmware_gave_up(console) or kind.what, words, _SIGNATURE if refused else kind.remedy)
    return None


def firmware_gave_up(console: str) -> str | None:
    """Why UEFI firmware starts nothing, if it says on the console that it does not."""
    if "BdsDxe: No bootable option" not in console:
        return None
    if any(word in console for word in _UNTRUSTED):
        return "its UEFI firmware refuses what it could start, which has no signature that it trusts (secure_boot)"
    return "its UEFI firmware finds nothing to start"
