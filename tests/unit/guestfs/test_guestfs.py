"""How programs of libguestfs are run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lago.errors import DiskError, HostError
from lago.guestfs import programs
from lago.hypervisor import accel
from lago.hypervisor.accel import Accel


@pytest.fixture(autouse=True)
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host of our own with a kernel, where only emulation works."""
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot" / "vmlinuz-6.1.0").touch()
    (tmp_path / "modules" / "6.1.0").mkdir(parents=True)
    monkeypatch.setattr(programs, "_BOOT", str(tmp_path / "boot"))
    monkeypatch.setattr(programs, "_MODULES", str(tmp_path / "modules"))
    monkeypatch.setattr(accel, "choose", lambda _setting: Accel("tcg", "so it is"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in [name for name in os.environ if name.startswith(("LIBGUESTFS_", "SUPERMIN_"))]:
        monkeypatch.delenv(name)
    return tmp_path


def test_the_appliance_is_ours_and_emulated_where_guests_are(host: Path) -> None:
    directory = host / "cache/lago/guestfs/host"
    assert programs.environment() == {
        "LIBGUESTFS_BACKEND": "direct",
        "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg",
        "LIBGUESTFS_CACHEDIR": str(directory),
    }
    assert directory.stat().st_mode & 0o777 == 0o700


def test_kvm_is_used_where_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "choose", lambda _setting: Accel("kvm", "so it is"))
    assert "LIBGUESTFS_BACKEND_SETTINGS" not in programs.environment()


def test_what_the_user_has_set_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBGUESTFS_BACKEND", "libvirt")
    assert programs.environment()["LIBGUESTFS_BACKEND"] == "libvirt"


def test_without_a_directory_for_modules_the_remedy_is_told(host: Path) -> None:
    (host / "modules" / "6.1.0").rmdir()
    (host / "modules").rmdir()
    with pytest.raises(HostError, match="this host has no directory") as raised:
        programs.environment()
    assert raised.value.hint == f"as root: mkdir {host}/modules"


def test_a_kernel_without_modules_is_none(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (host / "modules" / "6.1.0").rmdir()
    ours = {"SUPERMIN_KERNEL": "/k", "SUPERMIN_KERNEL_VERSION": "6.2", "SUPERMIN_MODULES": "/m"}
    monkeypatch.setattr(programs, "_template_kernel", lambda: ours)
    env = programs.environment()
    assert {name: env[name] for name in ours} == ours
    assert env["LIBGUESTFS_CACHEDIR"].endswith("/guestfs/6.2")
    monkeypatch.setenv("SUPERMIN_KERNEL", "/boot/mine")
    assert "SUPERMIN_MODULES" not in programs.environment()


def test_the_package_of_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError) as caught:
        programs.run_program(["virt-sysprep"], failure="cannot prepare it")
    assert caught.value == HostError(
        "the program virt-sysprep of libguestfs is not installed", hint="apt-get install libguestfs-tools"
    )


@pytest.mark.programs
def test_a_program_that_fails_has_its_own_words(host: Path) -> None:
    with pytest.raises(DiskError) as caught:
        programs.run_program(["sh", "-c", "echo why it is so >&2; exit 3"], failure="cannot prepare it")
    assert caught.value == DiskError("cannot prepare it", details="why it is so")
    assert not list((host / "cache/lago/guestfs/host").iterdir())
