"""Acceleration: the probe's guest is good, and the verdict is told, kept and forgotten rightly."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import time
from pathlib import Path

import pytest

from lago.constants import TCG_TIME_FACTOR
from lago.errors import HostError
from lago.host.programs import CommandStatus
from lago.hypervisor import accel, probe_guest
from lago.hypervisor.accel import Accel

SOURCE = Path(accel.__file__).with_name("probe_guest.S")
needs_kvm = pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="no access to /dev/kvm")


@pytest.mark.programs
def test_the_guest_reaches_its_end_under_emulation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "TIME_LIMIT", 60)
    assert accel.run_guest("tcg") == ""


@pytest.mark.programs
@needs_kvm
def test_the_verdict_on_kvm_comes_soon_leaves_no_process_and_is_the_same_for_every_processor_model() -> None:
    began = time.monotonic()
    verdict = accel.run_guest("kvm", cpu="qemu64")
    assert time.monotonic() - began < 30
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    assert not [pid for pid in children if b"qemu" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert bool(accel.run_guest("kvm", cpu="max")) == bool(verdict)


@pytest.mark.programs
@pytest.mark.skipif(not shutil.which("as") or not shutil.which("ld"), reason="no assembler")
def test_the_image_is_what_its_source_says(tmp_path: Path) -> None:
    object_, binary = str(tmp_path / "probe.o"), tmp_path / "probe.bin"
    subprocess.run(["as", "--64", "-o", object_, str(SOURCE)], check=True)
    subprocess.run(["ld", "-Ttext=0xfffffe00", "--oformat", "binary", "-o", str(binary), object_], check=True)
    assert probe_guest.image() == bytes(65536 - 512) + binary.read_bytes()


@pytest.fixture
def verdict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Accel]:
    """Probing pops the next of these; the cache is empty."""
    answers: list[Accel] = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(accel, "_probe", lambda: answers.pop(0))
    return answers


WORKS = Accel("kvm", "KVM runs a 64-bit guest")
FAILS = Accel("tcg", "KVM is present but does not run a 64-bit guest", "mend it")


def test_a_verdict_is_asked_for_once(verdict: list[Accel]) -> None:
    verdict.append(WORKS)
    assert [accel.probe(), accel.probe()] == [WORKS, WORKS]


def test_a_bad_verdict_is_said_once(verdict: list[Accel], caplog: pytest.LogCaptureFixture) -> None:
    verdict.append(FAILS)
    accel.probe()
    accel.probe()
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(FAILS.reason)


@pytest.mark.parametrize("change", ["boot_id", "uid", "gid", "qemu", "device"])
def test_a_verdict_is_forgotten_when_what_it_depends_on_changes(
    verdict: list[Accel], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    verdict += [WORKS, FAILS]
    key = accel._key()
    accel.probe()
    monkeypatch.setattr(accel, "_key", lambda: {**key, change: "another"})
    assert accel.probe() == FAILS


def test_a_damaged_cache_is_ignored(verdict: list[Accel], tmp_path: Path) -> None:
    verdict.append(WORKS)
    tmp_path.joinpath("lago").mkdir()
    tmp_path.joinpath("lago", "accel.json").write_text('{"key": ')
    assert accel.probe() == WORKS


def test_a_cache_that_cannot_be_written_does_no_harm(
    verdict: list[Accel], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    verdict.append(WORKS)
    tmp_path.joinpath("file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert accel.probe() == WORKS


def test_emulation_can_be_asked_for_without_a_probe(verdict: list[Accel]) -> None:
    assert accel.choose("tcg").kind == "tcg"


def test_auto_takes_what_the_probe_says(verdict: list[Accel]) -> None:
    verdict.append(FAILS)
    assert accel.choose("auto") == FAILS


def test_kvm_that_is_wanted_and_does_not_work_is_an_error_with_the_remedy(verdict: list[Accel]) -> None:
    verdict.append(FAILS)
    with pytest.raises(HostError) as raised:
        accel.choose("kvm")
    assert FAILS.reason in raised.value.what
    assert raised.value.hint == FAILS.remedy


def test_time_outs_are_scaled_under_emulation_only() -> None:
    assert (WORKS.time_factor, FAILS.time_factor) == (1, TCG_TIME_FACTOR)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (CommandStatus(probe_guest.EXIT_STATUS, b"", b""), ""),
        (CommandStatus(137, b"", b""), "it did not end within 2 s"),
        (CommandStatus(134, b"", b"qemu-system-x86_64: error: failed to set MSR\n"), "failed to set MSR"),
        (CommandStatus(1, b"", b"qemu-system-x86_64: warning: no feature\n"), "QEMU ended with status 1"),
    ],
)
def test_how_the_guest_ended_is_told(monkeypatch: pytest.MonkeyPatch, status: CommandStatus, said: str) -> None:
    monkeypatch.setattr(accel, "run", lambda *_args, **_options: status)
    assert accel.run_guest("kvm") == said


def test_a_device_that_is_not_there_is_a_reason_to_emulate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(accel, "KVM_DEVICE", str(tmp_path / "kvm"))
    assert "there is no" in accel._probe().reason


@pytest.mark.programs
def test_a_device_open_through_a_supplementary_group_only_does_not_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    device = tmp_path / "kvm"
    device.touch(mode=0o660)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    monkeypatch.setattr(os, "getegid", lambda: 54321)
    found = accel.without_access(str(device))
    assert found
    assert "only through a group" in found.reason
    assert found.remedy == f"setfacl -m u:54321:rw {device}"


def _acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 0xFFFFFFFF
BASE_ACL = [(0x01, 6, NOBODY), (0x04, 6, NOBODY), (0x10, 6, NOBODY), (0x20, 0, NOBODY)]


@pytest.mark.parametrize(
    ("mode", "acl", "uid", "gid", "granted"),
    [
        (0o600, None, "own", 7, True),
        (0o066, None, "own", 7, False),
        (0o660, None, 7, "own", True),
        (0o660, None, 7, 7, False),
        (0o666, None, 7, 7, True),
        (0o660, [(0x02, 6, 7)], 7, 7, True),
        (0o660, [(0x02, 6, 8)], 7, 7, False),
        (0o660, [(0x02, 4, 7)], 7, 7, False),
        (0o660, [(0x08, 6, 7)], 7, 7, True),
    ],
)
def test_who_may_use_a_device(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    mode: int,
    acl: list[tuple[int, int, int]] | None,
    uid: int | str,
    gid: int | str,
    granted: bool,
) -> None:
    device = tmp_path / "kvm"
    device.touch()
    device.chmod(mode)
    stat = device.stat()

    def getxattr(_path: str, _name: str) -> bytes:
        if acl is None:
            raise OSError
        return _acl(*BASE_ACL, *acl)

    monkeypatch.setattr(os, "getxattr", getxattr)
    numbers = [own if who == "own" else int(who) for who, own in ((uid, stat.st_uid), (gid, stat.st_gid))]
    assert accel._grants(str(device), *numbers) is granted
