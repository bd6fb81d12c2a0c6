"""What two environments have in common that come up as the same, and what tells them apart."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lago import Prefix
from lago.disks import qemu_img
from lago.environment import fingerprint
from lago.host.programs import run
from lago.hypervisor.accel import Accel

INIT_FILE = """\
domains:
  built:
    memory: 128
    vcpu: 1
    disks:
      - template_name: mini
        build:
          - virt-customize:
              upload: one:/root/one
              copy-in: tree:/srv
              commands-from-file: commands
              password: root:file:secret
      - {type: file, path: data.raw, format: raw, name: data, dev: vdb}
    metadata: {deploy-scripts: [setup.sh]}
    nics: [{net: lan}]
  layered:
    memory: 128
    vcpu: 1
    bootstrap: none
    disks: [{template_type: qcow2, path: top.qcow2}]
    nics: [{net: lan}]
nets: {lan: {}}
"""
CPUINFO = "processor\t: 0\nvendor_id\t: A\nmodel name\t: B\ncpu MHz\t\t: %s\nflags\t\t: fpu %s\n\n"


@pytest.fixture
def place(mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with an init file, and all files that it names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "LagoInitFile").write_text(INIT_FILE)
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    for name in ("one", "tree/deep/two", "three", "secret", "setup.sh", "unnamed"):
        (tmp_path / name).write_text(f"{name}\n")
    (tmp_path / "commands").write_text("upload three:/root/three\n")
    (tmp_path / "data.raw").write_bytes(bytes(1 << 20))
    qemu_img.create_empty("base.qcow2", 1 << 25)
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "base.qcow2", "top.qcow2"])
    for extra in ("kernel", "initrd"):
        (tmp_path / f"top.qcow2.{extra}").write_text(extra)
    (tmp_path / "cpuinfo").write_text(CPUINFO % (1, "sse2"))
    monkeypatch.setattr(fingerprint, "_CPUINFO", str(tmp_path / "cpuinfo"))
    return tmp_path


@pytest.fixture
def name(place: Path) -> Iterator[Callable[[], str]]:
    """What the environment there is called that is made of it now."""
    made = 0

    def of_now(accel: Accel | None = None, *, bootstrap: bool = False) -> str:
        nonlocal made
        made += 1
        prefix = Prefix.create(str(place / f"prefix{made}"), "LagoInitFile", bootstrap=bootstrap, build=False)
        try:
            if accel:
                prefix.virt_env.__dict__["accel"] = accel
            return fingerprint.of("LagoInitFile", prefix)
        finally:
            prefix.destroy()

    yield of_now
    assert made > 1


@pytest.fixture
def elsewhere(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of that directory."""
    return shutil.copytree(place, tmp_path_factory.mktemp("elsewhere") / "copy")


def append(path: str, text: str = "\nmore") -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)


def rewrite(path: str, old: str, new: str) -> None:
    Path(path).write_text(Path(path).read_text().replace(old, new))


def written_to(path: str) -> None:
    """Write to a disk, whose image then has another content and maybe the same size."""
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")


CHANGES: dict[str, Callable[[], object]] = {
    "the init file": lambda: append("LagoInitFile", "# a note\n"),
    "a file that is uploaded": lambda: append("one"),
    "a file in a directory that is copied": lambda: append("tree/deep/two"),
    "the name of a file in it": lambda: Path("tree/deep/two").rename("tree/deep/2"),
    "the mode of a file that is uploaded": lambda: Path("one").chmod(0o700),
    "a file of commands": lambda: append("commands", "run one\n"),
    "a file that it names": lambda: append("three"),
    "a file with a password": lambda: append("secret"),
    "an image by its path": lambda: written_to("top.qcow2"),
    "what it lies over": lambda: written_to("base.qcow2"),
    "what it boots from": lambda: append("top.qcow2.kernel"),
    "a disk that is used in place": lambda: written_to("data.raw"),
    "a deploy script": lambda: append("setup.sh"),
    "the processor": lambda: rewrite("cpuinfo", "sse2", "sse3"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_what_comes_up_changes_the_name(name: Callable[[], str], change: str) -> None:
    before = name()
    CHANGES[change]()
    assert name() != before


def test_acceleration_and_configuration_tell_apart(name: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    emulated = name(Accel("tcg", ""), bootstrap=True)
    assert name(Accel("tcg", ""), bootstrap=True) == emulated
    assert name(Accel("kvm", ""), bootstrap=True) != emulated
    monkeypatch.setenv("LAGO_DEFAULT_ROOT_PASSWORD", "another")
    assert name(Accel("tcg", ""), bootstrap=True) != emulated


def test_the_same_made_again_of_the_same_files_has_the_same_name(
    name: Callable[[], str], elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = name()
    append("unnamed")
    rewrite("cpuinfo", "MHz\t\t: 1", "MHz\t\t: 2")
    shutil.copy("top.qcow2", "copy")
    os.rename("copy", "top.qcow2")
    assert name() == before
    monkeypatch.chdir(elsewhere)
    assert name() == before


def test_the_digest_of_a_large_file_is_kept_until_it_changes(name: Callable[[], str]) -> None:
    os.truncate("data.raw", 1 << 25)
    before = name()
    assert name() == before
    time = os.stat("data.raw").st_mtime_ns
    written_to("data.raw")
    os.utime("data.raw", ns=(time, time))
    assert name() != before
