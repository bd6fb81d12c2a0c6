"""Guests of root's: what runs them has ids of its own, and few of the host's files in view."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago.hypervisor import checks, ids

from .box import MINI, ONE, Box

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's guests have his rights")


@pytest.fixture(scope="module", autouse=True)
def _possible() -> None:
    if (found := checks.confinement()).status != "ok":
        pytest.skip(found.found)


FILES = f"""\
domains:
  vm0:
    memory: 128
    vcpu: 1
    disks: [{{template_name: mini}}, {{path: $LAGO_INITFILE_PATH/data.raw}}, {{path: %s, dev: vdc, format: raw}}]
    shares: [{{path: src, tag: src}}]
    nics: [{{net: lan}}]
  vm1: {MINI % "{net: lan}"}
nets: {{lan: {{}}}}
"""
SECRET = "not for guests"
WAYS_OUT = {"slirp4netns", "passt", "passt.avx2"}


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A block device of the host's."""
    image = tmp_path_factory.mktemp("disk") / "image"
    image.write_bytes(b"on the device".ljust(1 << 20, b"\0"))
    made = subprocess.run(["losetup", "--find", "--show", image], capture_output=True, text=True, check=True)
    yield made.stdout.strip()
    subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


@pytest.fixture(scope="module")
def running(module_box: Box, disk: str) -> Box:
    """Two machines, of which one has files, a device and a directory of the host's."""
    (module_box.place / "src").mkdir()
    (module_box.place / "src" / "theirs").write_text("shared\n")
    (module_box.place / "data.raw").write_bytes(b"in place".ljust(1 << 20, b"\0"))
    module_box.up(FILES % disk)
    return module_box


def status(pid: int) -> dict[str, list[str]]:
    """What the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


def name_of(pid: int) -> str:
    """Name of the program that a process runs."""
    return Path(f"/proc/{pid}/comm").read_text().strip()


def as_qemu(box: Box, script: str, vm: str = "vm0") -> subprocess.CompletedProcess[str]:
    """What a script says that has all namespaces of a QEMU, its root directory and its user."""
    words = ["nsenter", f"--target={box.qemu(vm)}", "--all", "--setuid=0", "--setgid=0", "sh", "-c", script]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_all_that_handles_what_guests_say_has_ids_that_nobody_else_has(running: Box) -> None:
    supervisor = running.supervisor()
    assert supervisor is not None
    below = [int(pid) for pid in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()]
    names = set(map(name_of, below))
    assert {"libvirtd", "dnsmasq", "qemu-system-x86"} <= names
    assert names & WAYS_OUT
    assert "virtiofsd" in names
    ours = os.readlink("/proc/self/ns/user")
    for pid in below:
        if name_of(pid) == "ssh":
            continue
        assert os.readlink(f"/proc/{pid}/ns/user") != ours
        for one in ("Uid", "Gid"):
            assert all(ids._FIRST <= int(word) <= ids._LAST for word in status(pid)[one])
        # What it may do it may do there only.
        if name_of(pid) not in WAYS_OUT:
            assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    [row] = Path(f"/proc/{running.qemu()}/uid_map").read_text().splitlines()
    inside, outside, count = map(int, row.split())
    assert (inside, outside, count) == (0, int(status(running.qemu())["Uid"][0]), ids.COUNT)
    for path in ("/etc/subuid", "/etc/subgid"):
        for line in Path(path).read_text().splitlines() if os.path.exists(path) else ():
            _, first, many = line.split(":")
            assert int(first) + int(many) <= outside or outside + count <= int(first)


def test_none_of_the_hosts_files_are_in_view(running: Box, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    other = Path(os.environ["HOME"]) / "secret"
    other.write_text(SECRET)
    keep = [running.prefix / name for name in ("id_rsa", "uuid", "metadata", "virt/env")]
    for path in (Path("/etc/shadow"), Path("/root"), secret, other, running.place / "LagoInitFile", *keep):
        assert path.exists()
        done = as_qemu(running, f"ls -d '{str(path).replace(chr(39), chr(39) + chr(92) + chr(39) * 2)}'")
        assert done.returncode != 0, (path, done)
        assert "No such file" in done.stderr, done.stderr
    for shown in ("/proc/1/root/etc/shadow", "/proc/1/cwd", "/proc/1/environ"):
        assert "denied" in as_qemu(running, f"ls -l {shown}/ || cat {shown}").stderr


def test_another_environment_is_not_in_view_and_its_processes_neither(running: Box, box: Box) -> None:
    box.up_warm(ONE)
    image = next((box.prefix / "images").iterdir())
    name = str(image).replace("'", "'\\''")
    assert "No such file" in as_qemu(running, f"cat '{name}'").stderr
    theirs = status(box.qemu())
    assert os.readlink(f"/proc/{box.qemu()}/ns/pid") != os.readlink(f"/proc/{running.qemu()}/ns/pid")
    # As long as they are not the same by chance, of some two thousand.
    mine = status(running.qemu())
    if mine["Uid"] != theirs["Uid"]:
        words = [f"--reuid={mine['Uid'][0]}", f"--regid={mine['Gid'][0]}", "--clear-groups", "kill", "-0"]
        tried = subprocess.run(["setpriv", *words, str(box.qemu())], capture_output=True, text=True, check=False)
        assert "not permitted" in tried.stderr
    box.lago("destroy", "--yes")


def test_nothing_of_the_host_can_be_changed(running: Box) -> None:
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    assert "denied" in as_qemu(running, "echo '|/tmp/x' >/proc/sys/kernel/core_pattern").stderr
    assert as_qemu(running, "echo b >/proc/sysrq-trigger").returncode != 0
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before
    # Whatever is there as a process, ours are not to be ended.
    assert "not permitted" in as_qemu(running, "kill -9 1").stderr
    with subprocess.Popen(["sleep", "600"]) as sleeping:
        try:
            assert as_qemu(running, f"kill -9 {sleeping.pid}").returncode != 0
            assert sleeping.poll() is None
        finally:
            sleeping.kill()
    # Mounts stay as they are.
    for words in (
        "umount /usr",
        "umount -l /usr",
        "mount -o remount,bind,rw /usr",
        "touch /usr/x",
        "mknod /tmp/x b 7 0",
    ):
        assert as_qemu(running, words).returncode != 0, words
    store = as_qemu(running, "grep -c 'mini.* ro,.*idmapped' /proc/mounts")
    assert int(store.stdout) >= 1, store
    mounts = [line.split()[1] for line in Path(f"/proc/{running.qemu()}/mounts").read_text().splitlines()]
    template = min(path for path in mounts if path.rpartition(":")[0].endswith(":mini"))
    # proc_mounts(5): with spaces and the like in octal digits.
    name = template.encode().decode("unicode_escape").encode("latin-1").decode()
    quoted = name.replace("'", "'\\''")
    assert "Read-only" in as_qemu(running, f"echo x >>'{quoted}'").stderr


def test_what_was_passed_is_used_and_stays_the_hosts(running: Box, disk: str) -> None:
    assert running.shell("vm0", "dd if=/dev/vdb bs=8 count=1 2>/dev/null") == "in place"
    assert running.shell("vm0", "dd if=/dev/vdc bs=13 count=1 2>/dev/null") == "on the device"
    running.shell("vm0", "printf changed | dd of=/dev/vdb conv=notrunc 2>/dev/null; sync")
    running.shell("vm0", "printf 'by a guest   ' | dd of=/dev/vdc conv=notrunc,fsync 2>/dev/null")
    running.lago("stop")
    assert (running.place / "data.raw").read_bytes().startswith(b"changed")
    assert Path(disk).read_bytes().startswith(b"by a guest")
    for path in (running.place, *running.place.rglob("*")):
        assert path.lstat().st_uid == path.lstat().st_gid == 0, path
    assert os.stat(disk).st_uid == 0
    running.lago("start")


def test_a_guests_root_writes_to_a_shared_directory_as_root(running: Box) -> None:
    here = running.place / "src"
    if "virtiofs" not in running.shell(
        "vm0", "cat /proc/filesystems; modprobe virtiofs 2>/dev/null; cat /proc/filesystems"
    ):
        pytest.skip("this guest's kernel has no virtiofs")
    assert running.shell("vm0", "mkdir -p /s; mount -t virtiofs src /s && cat /s/theirs") == "shared\n"
    running.shell("vm0", "echo from the guest >/s/new; chown 1000:1000 /s/new; umount /s")
    assert (here / "new").read_text() == "from the guest\n"
    assert (here / "new").stat().st_uid == 1000
    os.chown(here / "new", 0, 0)


def test_snapshots_reverts_and_forks_go_on(box: Box) -> None:
    box.up_warm(ONE)
    box.shell("vm0", "echo one >/tmp/x")
    box.lago("snapshot", "s")
    box.shell("vm0", "echo two >/tmp/x")
    # The first one starts a machine on what was saved, the second one goes back in place.
    pids = []
    for _ in range(2):
        done = box.lago("revert", "s")
        assert "WARNING" not in done.err
        assert box.shell("vm0", "cat /tmp/x") == "one\n"
        pids.append(box.qemu())
    assert pids[0] == pids[1]
    box.lago("fork", "two")
    assert box.shell("vm0", "cat /tmp/x") == "one\n"
    assert box.lago("--prefix-name", "two", "shell", "vm0", "-c", "cat /tmp/x").out == "one\n"
    for path in box.prefix.parent.rglob("*"):
        assert path.lstat().st_uid == 0, path
    box.lago("--prefix-name", "two", "destroy", "--yes")


def test_what_can_not_be_confined_is_told_or_refused(box: Box) -> None:
    room = box.place / "ram"
    room.mkdir()
    # A file system that can't show files as another's.
    subprocess.run(["mount", "-t", "ramfs", "none", room], check=True)
    inner = Box(room)
    try:
        inner.write(ONE)
        inner.lago("init")
        done = inner.lago("--confine", "yes", "start", code=2)
        assert "lago: guests can't be confined: the file system of " in done.err
        done = inner.lago("start")
        assert "WARNING: guests run as root of this host, with its files in view: the file system of " in done.err
        assert status(inner.qemu())["Uid"][0] == "0"
        assert inner.shell("vm0", "echo in") == "in\n"
    finally:
        inner.close()
        subprocess.run(["umount", room], check=True)


@pytest.mark.slow
def test_it_can_be_left_out(box: Box) -> None:
    box.write(ONE)
    box.lago("init")
    assert "WARNING: guests run" not in box.lago("--confine", "no", "start").err
    assert status(box.qemu())["Uid"][0] == "0"
    # Whoever has it otherwise can use it all the same.
    box.lago("snapshot", "s")
    box.lago("stop")
    box.lago("start")
    assert status(box.qemu())["Uid"][0] != "0"
    assert "WARNING" not in box.lago("revert", "s").err
