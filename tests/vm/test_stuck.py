"""Guests that come up by no waiting are told of early, with what they said last and what to do."""

from __future__ import annotations

import json
import time

import pytest

from lago import Prefix
from lago.errors import Errors
from lago.virt import readiness

from .box import ONE, Box
from .terminal import Terminal

LONG = {"LAGO_BOOT_TIMEOUT": "600"}
"""A time-out that is an hour where guests are emulated."""

EMPTY = "{memory: 128, vcpu: 1, disks: [{type: empty, size: 16M, format: qcow2}], nics: [{net: lan}], %s}"


def test_a_machine_whose_firmware_finds_nothing_to_start_is_told_early(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = {"old": EMPTY % "firmware: bios", "new": (EMPTY % "firmware: uefi").replace("128", "256")}
    body = ", ".join(f"{name}: {text}" for name, text in machines.items())
    box.write(f"domains: {{{body}}}\nnets: {{lan: {{}}}}\n")
    box.lago("init")
    monkeypatch.setattr(readiness, "_SILENT_FOR", 1.0)
    for name, value in LONG.items():
        monkeypatch.setenv(name, value)
    began = time.monotonic()
    with pytest.raises(Errors) as caught:
        Prefix(str(box.prefix)).start()
    said = caught.value.render()
    assert time.monotonic() - began < 390
    assert "old did not answer ssh: its firmware finds nothing to start: Boot failed: not a bootable disk\n" in said
    assert "new did not answer ssh: its firmware finds nothing to start: BdsDxe: failed to load Boot" in said
    assert "No bootable device." in said
    assert said.count("put a system on its first disk") == 2
    assert f"its whole console log: {box.prefix}/logs/old.console.log" in said
    assert "\x1b" not in said, "what moves a cursor is not shown"
    assert box.states() == {"old": "running", "new": "running"}, "they stay for a look at them"


def _run_first(box: Box, script: str) -> None:
    """Let the kernel of the machine run a script before all else."""
    path = box.prefix / "virt" / "vm-vm0"
    described = json.loads(path.read_text())
    metadata = described["disks"][0]["metadata"]
    metadata["cmdline"] = f'{metadata["cmdline"]} rdinit=/busybox -- sh -c "{script}"'
    path.write_text(json.dumps(described))


@pytest.mark.slow
def test_a_kernel_that_finds_no_root_is_told_early_and_what_is_repeated_once(box: Box) -> None:
    box.write(ONE)
    box.lago("init")
    # What initramfs-tools says, said by another program in its place.
    waits = "for i in $(/busybox seq 37); do echo Waiting for the root file system; done"
    ends = "echo 'ALERT!  /dev/vdz1 does not exist.  Dropping to a shell!'; printf '(initramfs) '"
    _run_first(box, f"{waits}; {ends}; exec /busybox sleep 1000")
    began = time.monotonic()
    said = box.lago("start", code=2, env=LONG).err
    assert time.monotonic() - began < 390
    assert (
        "vm0 did not answer ssh: its kernel runs, but finds no root file system: "
        "ALERT!  /dev/vdz1 does not exist.  Dropping to a shell!\n"
    ) in said
    assert "    Waiting for the root file system (37 times)\n" in said
    assert said.count("Waiting for the root file system") == 1
    assert "hint: root= of its kernel must name a file system that is there" in said


DEBIAN = """\
domains:
  vm0: {memory: 512, vcpu: 1, root-password: own-secret, disks: [{template_name: debian12}], nics: [{net: lan}]}
nets: {lan: {}}
"""
MISSING = "/dev/vdz1 /data ext4 x-systemd.device-timeout=9 0 2"


@pytest.mark.slow
def test_a_system_in_emergency_mode_is_told_early_and_has_the_password_of_the_init_file(debian: None, box: Box) -> None:
    box.write(DEBIAN)
    box.lago("init")
    box.lago("start", env=LONG, patience=800)
    with Terminal(box, "console", "vm0") as terminal:
        terminal.expect("Ctrl-] leaves")
        terminal.type("\n")
        terminal.expect("login: ")
        terminal.type("root\n")
        terminal.expect("Password: ")
        terminal.type("own-secret\n")
        terminal.expect("# ")
        terminal.type(f"echo '{MISSING}' >>/etc/fstab && echo written on $(hostname)\n")
        terminal.expect("written on vm0")
        terminal.type("\x1d")
        assert terminal.wait() == 0
    box.lago("shutdown")
    began = time.monotonic()
    said = box.lago("start", code=2, env=LONG, patience=800).err
    assert time.monotonic() - began < 600
    assert (
        "vm0 did not answer ssh: its system stopped in emergency mode: "
        "[ TIME ] Timed out waiting for device dev-vdz1.device - /dev/vdz1.\n"
    ) in said
    assert "Give root password for maintenance" in said
    assert "hint: most often a file system of its /etc/fstab is missing or damaged" in said


@pytest.mark.slow
def test_a_guest_that_goes_on_after_such_words_is_waited_for(box: Box) -> None:
    box.write(ONE)
    box.lago("init")
    _run_first(box, "echo You are in emergency mode; /busybox sleep 4; exec /init")
    box.lago("start", env=LONG)
    assert "You are in emergency mode" in box.lago("logs").out
    assert box.shell("vm0", "hostname") == "vm0\n"
