"""UEFI firmware, secure boot, TPMs, machine types and shared directories, in guests that use them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lago.environment.prefix import Prefix

from ..users import User
from .box import Box

INIT_FILE = """
domains:
  mini:
    memory: 256M
    firmware: uefi
    tpm: true
    vcpu: 1
    nics: [{net: lab}]
    disks: [{template_name: mini}]
    shares: [{path: src, tag: src}]
nets: {lab: {}}
"""
DEBIAN = """
domains:
  deb:
    memory: 512M
    firmware: uefi
    secure_boot: true
    tpm: true
    vcpu: 1
    nics: [{net: lab}]
    disks: [{template_name: debian12}]
    shares: [{path: src, tag: src}]
nets: {lab: {}}
"""
OLD_PC = """
domains:
  vm0:
    memory: 256M
    machine: pc
    firmware: %s
    tpm: true
    vcpu: 1
    nics: [{net: lab}]
    disks: [{template_name: mini}]
    shares: [{path: src, tag: src}]
nets: {lab: {}}
"""
EFI_GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
"""The owner of the variables that the UEFI specification has, 3.3."""
SECURE_BOOT = f"SecureBoot-{EFI_GLOBAL}"
OURS = "Lago-6bd0f4a1-5c5e-4b0e-9c5d-0d6a3d5b7c11"
_EFIVARS = "mountpoint -q {0} || mount -t efivarfs efivarfs {0}".format("/sys/firmware/efi/efivars")


@dataclass(frozen=True)
class Guest:
    """A machine of an environment."""

    box: Box
    name: str

    def said(self, command: str) -> str:
        """Output of a command."""
        return self.box.shell(self.name, command)

    def variable(self, name: str) -> bytes:
        """A variable of the firmware, without its attributes."""
        text = self.said(f"{_EFIVARS}; od -An -v -tx1 /sys/firmware/efi/efivars/{name}")
        return bytes.fromhex("".join(text.split()))[4:]

    def secure_boot(self) -> bool:
        """Whether the firmware says so; where it has no keys it may have no such variable."""
        names = self.said(f"{_EFIVARS}; ls /sys/firmware/efi/efivars").split()
        assert any(name.endswith(EFI_GLOBAL) for name in names), names
        return SECURE_BOOT in names and {b"\0": False, b"\1": True}[self.variable(SECURE_BOOT)]

    def keep(self, value: str) -> None:
        """Set a variable of ours; the firmware wants all of it in one write."""
        self.said(f"printf '\\007\\0\\0\\0%s' {value} >/tmp/v && cat /tmp/v >/sys/firmware/efi/efivars/{OURS}")

    def tpm_resets(self) -> int:
        """How often the TPM was started, counted by itself (TPM2_ReadClock, resetCount)."""
        asked = r"printf '\200\001\000\000\000\012\000\000\001\201' >/tmp/q; exec 3<>/dev/tpm0; cat /tmp/q >&3"
        text = self.said(f"{asked}; dd bs=64 count=1 <&3 2>/dev/null | od -An -v -tx1")
        answer = bytes.fromhex("".join(text.split()))
        assert answer[6:10] == bytes(4), answer
        return int.from_bytes(answer[26:30])

    def exchange(self, directory: Path) -> None:
        """Pass a file each way through the share `src`."""
        (directory / f"to-{self.name}").write_text("from the host")
        script = f"mkdir -p /tmp/src && mount -t virtiofs src /tmp/src && cat /tmp/src/to-{self.name}"
        assert self.said(f"{script} && hostname >/tmp/src/from-{self.name}") == "from the host"
        assert (directory / f"from-{self.name}").read_text() == f"{self.name}\n"


def _up(box: Box, text: str) -> Box:
    (box.place / "src").mkdir()
    box.env["LAGO_BOOT_TIMEOUT"] = "60"
    box.up(text)
    return box


@pytest.fixture(scope="module")
def home(module_box: Box) -> Box:
    """An environment of a small machine, running."""
    return _up(module_box, INIT_FILE)


@pytest.fixture(scope="module")
def deb(debian: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A Debian machine with secure boot."""
    box = Box(tmp_path_factory.mktemp("deb"))
    yield Guest(_up(box, DEBIAN), "deb")
    box.close()


@pytest.fixture
def small(home: Box) -> Guest:
    """The small machine."""
    return Guest(home, "mini")


@pytest.fixture(params=["small", pytest.param("deb", marks=pytest.mark.slow)])
def guest(request: pytest.FixtureRequest) -> Guest:
    """Each of them."""
    found: Guest = request.getfixturevalue(request.param)
    return found


def test_secure_boot_is_what_the_init_file_says(guest: Guest) -> None:
    assert guest.secure_boot() is (guest.name == "deb")
    if guest.secure_boot():
        assert "integrity" in guest.said("cat /sys/kernel/security/lockdown").partition("[")[2].partition("]")[0]


def test_machines_have_a_tpm(guest: Guest) -> None:
    assert guest.said("cat /sys/class/tpm/tpm0/tpm_version_major") == "2\n"
    # The firmware measured what it started.
    assert set(guest.said("cat /sys/class/tpm/tpm0/pcr-sha256/4").strip()) != {"0"}


def test_files_pass_both_ways(guest: Guest) -> None:
    guest.exchange(guest.box.place / "src")


@pytest.mark.slow
def test_machine_and_hypervisor_may_end_and_all_is_kept_until_it_is_discarded(small: Guest) -> None:
    box = small.box
    assert not small.secure_boot()
    small.keep("kept")
    resets = small.tpm_resets()
    box.lago("stop", "mini")
    assert (box.prefix / "images" / "mini_nvram.fd").is_file()
    box.lago("stop")
    box.lago("start", "mini")
    assert small.variable(OURS) == b"kept"
    assert small.tpm_resets() > resets
    box.lago("stop")
    env, states = Prefix(str(box.prefix)).virt_env, box.prefix / "tpm" / "state"
    assert len(list(states.iterdir())) == 1
    try:
        env.hypervisor.ensure([])
        env.get_vm("mini").discard()
    finally:
        env.stop()
    assert list(states.iterdir()) == []


@pytest.mark.parametrize("firmware", ["bios", pytest.param("uefi", marks=pytest.mark.slow)])
def test_an_ordinary_user_has_all_of_it_on_an_old_pc(module_box: Box, throwaway_user: User, firmware: str) -> None:
    throwaway_user.take_template(Path(module_box.environment()["LAGO_TEMPLATE_STORE"]), "mini")
    place = throwaway_user.home / firmware
    (place / "src").mkdir(parents=True)
    throwaway_user.own(place)
    box = Box(place, user=throwaway_user)
    guest = Guest(box, "vm0")
    try:
        box.up(OLD_PC % firmware)
        assert "PIIX" in guest.said("cat /sys/class/dmi/id/product_name")
        guest.exchange(place / "src")
        assert (place / "src" / "from-vm0").stat().st_uid == throwaway_user.uid
        guest.said("touch /tmp/src/theirs && chown 1000 /tmp/src/theirs")
        # A subordinate id of the user: neither the user's own nor that of somebody on the host.
        assert (place / "src" / "theirs").stat().st_uid >= 100_000
        if firmware == "uefi":
            assert not guest.secure_boot()
            assert guest.tpm_resets() > 0
    finally:
        box.close()
