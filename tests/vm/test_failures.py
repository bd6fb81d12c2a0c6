"""What goes wrong is told: how far a machine came, what the host lacks, and what to do about it."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from .box import ONE, TWO, Box, kill, wait_for

SOON = {"LAGO_BOOT_TIMEOUT": "1"}
"""A time-out that is over soon, though emulation multiplies it by 5."""

_LOGIN = {"LAGO_BOOT_TIMEOUT": "2"}
"""One in which a login may fail too."""


@pytest.fixture
def made(box: Box) -> Box:
    """An environment of one machine that never ran."""
    box.write(ONE)
    box.lago("init")
    return box


def _edit_cmdline(box: Box, edit: Callable[[str], str]) -> None:
    """Change the kernel's command line in the environment on disk."""
    path = box.prefix / "virt" / "vm-vm0"
    described = json.loads(path.read_text())
    metadata = described["disks"][0]["metadata"]
    metadata["cmdline"] = edit(metadata["cmdline"])
    path.write_text(json.dumps(described))


def _start_in_vain(box: Box, expected: str, env: Mapping[str, str] = SOON) -> str:
    """What `start` says of a machine that does not come up: `expected`, after as many short waits as it takes."""
    said = ""

    def told() -> bool:
        nonlocal said
        said = box.lago("start", code=2, env=env).err
        return expected in said

    assert wait_for(told, 150), said
    return said


def test_a_panic_is_told_at_once(made: Box) -> None:
    _edit_cmdline(made, lambda line: line.replace("/dev/vda", "/dev/nothing") + " rdinit=/nothing")
    began = time.monotonic()
    done = made.lago("start", code=2)
    assert time.monotonic() - began < 200
    assert "lago: vm0 did not answer ssh: its kernel panicked: " in done.err
    assert "Kernel panic - not syncing: VFS: Unable to mount root fs" in done.err
    assert "    console:\n" in done.err
    assert f"hint: its whole console log: {made.prefix}/logs/vm0.console.log" in done.err
    # For a look at it, it stays.
    assert made.states() == {"vm0": "running"}


@pytest.mark.slow
def test_a_silent_kernel_is_told(made: Box) -> None:
    _edit_cmdline(made, lambda _: "console=tty0 quiet rdinit=/nothing root=/dev/nothing")
    done = made.lago("start", code=2, env={"LAGO_BOOT_TIMEOUT": "1"})
    assert "vm0 did not answer ssh within 5 s: there was no kernel output" in done.err


@pytest.mark.slow
def test_a_machine_without_an_address_is_told(made: Box) -> None:
    _edit_cmdline(made, lambda line: line.replace("quiet", "loglevel=7 rdinit=/busybox -- sleep 1000"))
    said = _start_in_vain(made, "its kernel runs, but it got no address (no DHCP lease)")
    assert "    console:\n" in said


def test_a_refused_key_is_told(made: Box) -> None:
    (made.prefix / "id_rsa").unlink()
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(made.prefix / "other")]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    (made.prefix / "other").rename(made.prefix / "id_rsa")
    path = made.prefix / "virt" / "vm-vm0"
    path.write_text(json.dumps({**json.loads(path.read_text()), "root-password": "another"}))
    made.env["LAGO_SSH_PASSWORD"] = "another"
    told = "vm0 did not answer ssh within 10 s: ssh: vm0: root@192.168.200.2: can't be logged in to"
    assert "Permission denied (publickey,password)" in _start_in_vain(made, told, _LOGIN)


@pytest.mark.slow
def test_a_closed_port_is_told(box: Box) -> None:
    made = box
    made.up_warm(ONE)
    made.shell("vm0", "mv /usr/sbin/dropbear /usr/sbin/dropbear.away || mv $(which dropbear) /root/away; sync")
    made.lago("stop")
    _start_in_vain(made, "it has its address 192.168.200.2, but port 22 is closed: ")


def test_a_machine_that_ends_while_lago_waits_is_told_at_once(made: Box) -> None:
    with made.popen("start") as process:
        assert process.stderr is not None
        said = ""
        while "booting" not in said:
            said += process.stderr.readline()
        kill(made.qemu())
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert "lago: vm0 did not answer ssh: QEMU ended" in said
    assert made.states() == {"vm0": "shut off"}
    done = made.lago("shell", "vm0", "true", code=2)
    assert done.err == "lago: vm0 is not running, it is shut off\nhint: lago start vm0\n"
    made.lago("start")
    assert made.shell("vm0", "hostname") == "vm0\n"


def test_a_machine_that_libvirt_refuses_undoes_the_start(box: Box) -> None:
    box.write(TWO)
    box.lago("init")
    path = box.prefix / "images" / "vm1_root.qcow2"
    path.rename(path.with_suffix(".away"))
    done = box.lago("start", code=2)
    assert "lago: vm1 does not start: " in done.err
    assert "vm1_root.qcow2" in done.err
    assert box.states() == {"vm0": "down", "vm1": "down"}
    assert box.supervisor() is None


@contextlib.contextmanager
def small(place: Path, kilobytes: int) -> Iterator[None]:
    """A small file system on `place`."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "lago-test", str(place)], check=True)
    try:
        yield
    finally:
        # A thread that nobody waits for may have a file open yet.
        argv = ["umount", str(place)]
        assert wait_for(lambda: subprocess.run(argv, capture_output=True, check=False).returncode == 0)


@pytest.mark.parametrize("kilobytes", [4, 16, 40, 100, 200])
def test_d07_init_on_a_full_disk_leaves_nothing(mini: Path, tmp_path: Path, kilobytes: int) -> None:
    with small(tmp_path, kilobytes):
        box = Box(tmp_path)
        box.write(TWO)
        done = box.lago("init", code=2)
        assert "no space left" in done.err.lower()
        assert "hint: free some" in done.err or "lago: ssh-keygen failed" in done.err
        assert os.listdir(tmp_path) == ["LagoInitFile"]


def test_a_machine_that_finds_the_disk_full_is_told(mini: Path, tmp_path: Path) -> None:
    with small(tmp_path, 1000), contextlib.closing(Box(tmp_path)) as box:
        box.write(ONE)
        box.lago("init")
        # What is left takes our logs, but not what a first boot writes.
        free = os.statvfs(tmp_path)
        box.write("x" * (free.f_bavail * free.f_bsize - 100_000), "filler")
        done = box.lago("start", code=2)
        assert "vm0 did not answer ssh: it is paused on an I/O error, is the disk full?" in done.err
        assert box.states() == {"vm0": "paused"}
        done = box.lago("shell", "vm0", "true", code=2, env=SOON)
        assert "paused on an I/O error" in done.err
        box.lago("destroy", "--yes")
        assert sorted(os.listdir(tmp_path)) == ["LagoInitFile", "LagoInitFile.lock", "filler"]


def test_a_machine_that_found_the_disk_full_goes_on_by_start_when_there_is_room(mini: Path, tmp_path: Path) -> None:
    with small(tmp_path, 100_000), contextlib.closing(Box(tmp_path)) as box:
        box.write(ONE)
        box.lago("init")
        free = os.statvfs(tmp_path)
        filler = box.write("x" * (free.f_bavail * free.f_bsize - 100_000), "filler")
        assert "it is paused on an I/O error" in box.lago("start", code=2).err
        qemu = box.qemu()
        assert "it is paused on an I/O error" in box.lago("start", code=2).err
        filler.unlink()
        box.lago("start")
        assert box.shell("vm0", "hostname") == "vm0\n"
        assert box.qemu() == qemu


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All programs of the host, by links."""
    place = tmp_path_factory.mktemp("programs")
    for directory in os.get_exec_path():
        if os.path.isdir(directory):
            for name in os.listdir(directory):
                with contextlib.suppress(FileExistsError):
                    (place / name).symlink_to(os.path.join(directory, name))
    return place


@contextlib.contextmanager
def _without(programs: Path, name: str) -> Iterator[dict[str, str]]:
    away = programs.with_name("away")
    (programs / name).rename(away)
    try:
        yield {"PATH": str(programs)}
    finally:
        away.rename(programs / name)


@pytest.mark.parametrize(("name", "package"), [("qemu-img", "qemu-utils"), ("ssh-keygen", "openssh-client")])
def test_a_program_that_init_misses_is_named(box: Box, programs: Path, name: str, package: str) -> None:
    box.write(ONE)
    with _without(programs, name) as env:
        done = box.lago("init", code=2, env=env)
    assert done.err.endswith(f"lago: the program {name} is not installed\nhint: apt-get install {package}\n"), done.err
    assert os.listdir(box.place) == ["LagoInitFile"]


@pytest.mark.parametrize(("name", "package"), [("ssh", "openssh-client"), ("qemu-system-x86_64", "qemu-system-x86")])
def test_a_program_that_start_misses_is_named(made: Box, programs: Path, name: str, package: str) -> None:
    with _without(programs, name) as env:
        done = made.lago("start", code=2, env={**env, "XDG_CACHE_HOME": str(made.place / "cache")})
    assert f"the program {name} is not installed\n" in done.err
    assert f"hint: apt-get install {package}\n" in done.err


def test_a_missing_libvirtd_is_named(made: Box) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can hide it")
    libvirtd = "/usr/sbin/libvirtd"
    if not os.path.exists(libvirtd):
        pytest.skip("it is elsewhere")
    # A mount namespace in which its directory has all but it.
    script = """
        mkdir away && mount --bind /usr/sbin away && mount -t tmpfs none /usr/sbin &&
        ln -s "$PWD"/away/* /usr/sbin && rm /usr/sbin/libvirtd && exec "$@"
    """
    made.wrap = ["unshare", "--mount", "--", "sh", "-c", script, "sh"]
    try:
        done = made.lago("start", code=2)
    finally:
        made.wrap = ()
    assert "lago: the program libvirtd is not installed\nhint: apt-get install libvirt-daemon" in done.err
    assert made.states() == {"vm0": "down"}


def test_a_missing_driver_of_libvirt_is_named_before_anything_starts(made: Box) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can hide it")
    name = "libvirt/connection-driver/libvirt_driver_network.so"
    found = [*glob.glob(f"/usr/lib/*/{name}"), *glob.glob(f"/usr/lib*/{name}")]
    if not found:
        pytest.skip("it is elsewhere")
    # A mount namespace in which its directory has all but it.
    script = f"""
        cd {os.path.dirname(found[0])} && mkdir "$0" && cp *.so "$0" && rm "$0/{os.path.basename(found[0])}" &&
        mount --bind "$0" . && cd "$OLDPWD" && exec "$@"
    """
    made.wrap = ["unshare", "--mount", "--", "sh", "-c", script, str(made.place / "drivers")]
    try:
        done = made.lago("start", code=2)
    finally:
        made.wrap = ()
    hint = "hint: apt-get install libvirt-daemon-driver-network\n"
    assert f"lago: libvirt's driver for networks is not installed\n{hint}" in done.err
    assert made.states() == {"vm0": "down"}


def test_a_run_directory_of_somebody_else_is_refused(made: Box, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give directories away")
    run = tmp_path / "run"
    (run / "lago" / "environment").mkdir(parents=True)
    os.chown(run / "lago", 12345, 12345)
    done = made.lago("start", code=2, env={"XDG_RUNTIME_DIR": str(run)})
    assert "belongs to another user" in done.err
    assert "hint: remove it" in done.err
