"""What the last words of a guest tell: whether it waits for somebody, for what, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from lago.host.programs import repeated, tail
from lago.virt import readiness
from lago.virt.stuck import kernel_spoke, lines, stuck

CONSOLES = Path(__file__).parents[2] / "data" / "consoles"
"""What real guests said on their consoles, byte by byte; the beginnings of long ones are left out."""

SEABIOS = (
    "\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS (version 1.16.2-debian-1.16.2-1)\r\n"
    "Machine UUID c5203269-d19e-0ef5-7a17-aaa008723338\r\n\n"
    "iPXE (http://ipxe.org) 00:03.0 CA00 PCI2.10 PnP PMM+02FCEE00+02F0EE00 CA00\r\n"
    "Press Ctrl-B to configure iPXE (PCI 00:03.0)...\r          \r\n\n\nBooting from Hard Disk...\r\n"
)
NO_DISK = "Boot failed: not a bootable disk\r\n\nNo bootable device.\r\n"
PXE = (
    "net0: 52:54:00:12:34:56 using virtio-net on 0000:00:03.0 (open)\r\n"
    "Nothing to boot: No such file or directory (http://ipxe.org/2d03e13b)\r\nNo more network devices\r\n\n"
)
SHELL = (
    '\x1b[=3h\x1b[2J\x1b[01;01HBdsDxe: failed to load Boot0001 "UEFI Misc Device" from PciRoot(0x0): Not Found\r\n'
    'BdsDxe: starting Boot0002 "EFI Internal Shell" from Fv(7CB8BDC9)\r\nUEFI Interactive Shell v2.2\r\n'
    "\x1b[08;01H\x1b[1m\x1b[33m\x1b[40mShell> \x1b[0m\x1b[37m\x1b[40m"
)
INITRAMFS = """\
Begin: Waiting for root file system ... done.
Gave up waiting for root file system device.  Common problems:
 - Boot args (cat /proc/cmdline)
   - Check rootdelay= (did the system wait long enough?)
 - Missing modules (cat /proc/modules; ls /dev)
ALERT!  UUID=3ae8-1 does not exist.  Dropping to a shell!


BusyBox v1.35.0 (Debian 1:1.35.0-4+b3) built-in shell (ash)
Enter 'help' for a list of built-in commands.

(initramfs) """
DRACUT = """\
[  190.011] dracut-initqueue[341]: Warning: dracut-initqueue: timeout, still waiting for following initqueue hooks:
[  195.172] dracut-initqueue[341]: Warning: Could not boot.
[  195.201] dracut-initqueue[341]: Warning: /dev/mapper/rhel-root does not exist

Generating "/run/initramfs/rdsosreport.txt"


Entering emergency mode. Exit the shell to continue.
Type "journalctl" to view system logs.
You might want to save "/run/initramfs/rdsosreport.txt" to a USB stick or /boot
after mounting them and attach it to a bug report.


Press Enter for maintenance
(or press Control-D to continue): """
EMERGENCY = """\
[FAILED] Failed to mount data.mount - /data.
[DEPEND] Dependency failed for local-fs.target - Local File Systems.
You are in emergency mode. After logging in, type "journalctl -xb" to view
system logs, "systemctl reboot" to reboot, "systemctl default" or "exit"
to boot into default mode.
Give root password for maintenance
(or press Control-D to continue): """
LOCKED = """\
[FAILED] Failed to mount data.mount - /data.
You are in emergency mode. After logging in, type "journalctl -xb" to view
system logs, "systemctl reboot" to reboot, "systemctl default" or "exit"
to boot into default mode.

Cannot open access to console, the root account is locked.
See sulogin(8) man page for more details.

Press Enter to continue.
"""
FULL = """\
[    9.1] sshd[391]: fatal: open /run/sshd.pid: No space left on device
[FAILED] Failed to start ssh.service - OpenBSD Secure Shell server.
See 'systemctl status ssh.service' for details.

Debian GNU/Linux 12 vm0 ttyS0

vm0 login: """
NO_ROOT = "its kernel runs, but finds no root file system"


@pytest.mark.parametrize(
    ("console", "what", "words", "remedy"),
    [
        (
            SEABIOS + NO_DISK,
            "its firmware finds nothing to start",
            "Boot failed: not a bootable disk",
            "put a system on its first disk",
        ),
        (
            SEABIOS + PXE,
            "its firmware finds nothing to start",
            "Nothing to boot: No such file",
            "put a system on its first disk",
        ),
        (
            SEABIOS + PXE + NO_DISK,
            "its firmware finds nothing to start",
            "Boot failed: not",
            "(firmware: bios or uefi)",
        ),
        (SHELL, "its firmware finds nothing to start", "BdsDxe: failed to load Boot0001 ", "(firmware: bios or uefi)"),
        (
            'BdsDxe: failed to load Boot0001 "UEFI Misc Device" from PciRoot(0x0): Not Found\r\n',
            "its firmware finds nothing to start",
            'BdsDxe: failed to load Boot0001 "UEFI Misc Device"',
            "put a system on its first disk",
        ),
        (
            "BdsDxe: failed to load Boot0001 from PciRoot(0x0): Not Found\r\n"
            "BdsDxe: No bootable option or device was found.\r\n"
            "BdsDxe: Press any key to enter the Boot Manager Menu.\r\n",
            "its UEFI firmware finds nothing to start",
            "BdsDxe: failed to load Boot0001 from PciRoot(0x0): ",
            "put a system on its first disk",
        ),
        (
            "BdsDxe: failed to load Boot0001 from PciRoot(0x0): Access Denied\r\n"
            "BdsDxe: No bootable option or device was found.\r\n",
            "its UEFI firmware refuses what it could start",
            "BdsDxe: failed to load Boot0001 from PciRoot(0x0): ",
            "secure_boot: false",
        ),
        (
            "error: no such device: 3ae8.\r\nEntering rescue mode...\r\ngrub rescue> ",
            "its boot loader finds nothing to start",
            "error: no such device: 3ae8.",
            "boot: kernel",
        ),
        (INITRAMFS, NO_ROOT, "ALERT!  UUID=3ae8-1 does not exist.", "root= of its kernel"),
        (f"[    4.1] {INITRAMFS.splitlines()[5]}\n", NO_ROOT, "ALERT!  UUID=3ae8-1 does not exist.", "virtio_blk"),
        (DRACUT, NO_ROOT, "dracut-initqueue[341]: Warning: /dev/mapper/rhel-root does not exist", "root= of"),
        (EMERGENCY, "its system stopped in emergency mode", "", "/etc/fstab"),
        (LOCKED, "its system stopped in emergency mode", "", "/etc/fstab"),
        (FULL, "its disk is full, so sshd does not start", "sshd[391]: fatal: open /run/sshd.pid: No space", "larger"),
    ],
)
def test_a_guest_that_waits_for_somebody_is_known_by_its_last_words(
    console: str, what: str, words: str, remedy: str
) -> None:
    found = stuck(console)
    assert found is not None
    assert found.what.startswith(what)
    assert found.words.startswith(words)
    assert "\x1b" not in found.words
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("name", "what", "words"),
    [
        ("dracut", NO_ROOT, "Warning: /dev/vdz1 does not exist"),
        ("grub-nofs", "its boot loader finds nothing to start", "error: unknown filesystem."),
        (
            "grub-rescue",
            "its boot loader finds nothing to start",
            "error: file `/boot/grub/i386-pc/normal.mod' not found.",
        ),
        ("grub-shell", "its boot loader finds nothing to start", "grub>"),
        ("initramfs", NO_ROOT, "ALERT!  /dev/vdz1 does not exist.  Dropping to a shell!"),
        (
            "systemd-emergency",
            "its system stopped in emergency mode",
            "[ TIME ] Timed out waiting for device dev-vdz1.device - /dev/vdz1.",
        ),
    ],
)
def test_what_real_guests_said_last_is_known(name: str, what: str, words: str) -> None:
    found = stuck((CONSOLES / f"{name}.log").read_bytes().decode())
    assert found is not None
    assert (found.what, found.words) == (what, words)


def test_what_failed_is_told_of_emergency_mode() -> None:
    found = stuck(EMERGENCY)
    assert found is not None
    assert found.words == "[FAILED] Failed to mount data.mount - /data."


@pytest.mark.parametrize(
    "console",
    [
        "",
        SEABIOS,
        SEABIOS + "Loading Linux 6.1.0 ...\r\n",
        PXE + "Booting from Hard Disk...\r\n[    0.000000] Linux version 6.1.0\n",
        INITRAMFS + "\n[   10.0] EXT4-fs (vda1): mounted filesystem\n",
        EMERGENCY + "\n[  OK  ] Reached target multi-user.target\n",
        "You are in emergency mode\n[    3.1] systemd[1]: Reached target network.target\n",
        # Much else may want room, and sshd starts all the same.
        "[    7.0] systemd-journald[210]: Failed to write entry: No space left on device\n",
        "[FAILED] Failed to start ssh.service - OpenBSD Secure Shell server.\n",
        "Debian GNU/Linux 12 vm0 ttyS0\n\nvm0 login: ",
        "~ # ",
    ],
)
def test_a_guest_from_which_more_may_come_is_not_given_up(console: str) -> None:
    assert stuck(console) is None


def test_last_words_are_those_after_which_nothing_came(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("lago.virt.readiness.time.monotonic", lambda: now[0])
    last = readiness._LastSaid(10)
    assert not last.stays("a")
    now[0] += 9
    assert not last.stays("a")
    assert not last.stays("ab")
    now[0] += 9
    assert not last.stays("ab")
    now[0] += 1
    assert last.stays("ab")


def test_firmware_is_no_kernel() -> None:
    assert not kernel_spoke("")
    assert not kernel_spoke(SEABIOS)
    assert kernel_spoke(f"{SEABIOS}[    0.000000] Linux version 6.1.0\n")
    assert lines(SEABIOS)[0] == "SeaBIOS (version 1.16.2-debian-1.16.2-1)"


def test_a_line_that_is_repeated_is_told_once_with_its_number() -> None:
    text = "begin\n" + "".join(f"[   {second}.1] no answer\n" for second in range(37)) + "end\nend\n\n"
    assert tail(text) == "begin\n[   0.1] no answer (37 times)\nend (2 times)"
    assert tail(text, 2) == "[   0.1] no answer (37 times)\nend (2 times)"
    assert tail("a\n\n\nb\n") == "a\n\nb", "empty lines are no words"
    assert repeated("a\nb\na\nb\nc") == "a (2 times)\nb (2 times)\nc"
