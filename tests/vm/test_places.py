"""Where an environment is, who makes it, and what its host has in /dev and /run, keeps no machine from starting."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .box import ONE, Box

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change what a host has, and be another user")

_HOST = """\
import os, subprocess, sys
from lago.hypervisor import namespace
def mount(*words): subprocess.run(["mount", *words], check=True)
exec(sys.argv[1])
print("ready", flush=True)
sys.stdin.read()
"""
# The links that stand for the entries of the host lead to its own devices.
_HUGEPAGES = """\
namespace.shadow("/dev", without=["hugepages"])
os.mkdir("/dev/hugepages")
mount("-t", "hugetlbfs", "-o", "mode=0755", "hugetlbfs", "/dev/hugepages")
"""


@pytest.fixture(params=[pytest.param("root", marks=pytest.mark.slow), "user"])
def made(request: pytest.FixtureRequest, mini: Path, tmp_path: Path) -> Iterator[Box]:
    """A directory of root's, and one of an ordinary user's."""
    box = Box(tmp_path)
    if request.param == "user":
        box = Box.of_user(request.getfixturevalue("throwaway_user"), mini, tmp_path.name)
    box.write(ONE)
    yield box
    box.close()


@contextlib.contextmanager
def on_host_with(box: Box, setup: str) -> Iterator[Path]:
    """Let `lago` run in mounts of its own, which Python code has changed; yields their root as it is seen from here."""
    argv = ["unshare", "--mount", sys.executable, "-c", _HOST, setup]
    with subprocess.Popen(argv, cwd=box.place, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "ready\n"
        box.wrap = ["nsenter", f"--target={host.pid}", "--mount", "env", f"--chdir={box.place}"]
        try:
            yield Path(f"/proc/{host.pid}/root")
            box.close()
        finally:
            box.wrap = ()
            host.communicate("")


def _starts(box: Box) -> None:
    box.lago("init")
    box.lago("start")
    assert box.shell("vm0", "hostname") == "vm0\n"


@as_root
def test_where_hugetlbfs_is_mounted_a_machine_starts_and_leaves_nothing_there(made: Box) -> None:
    if "hugetlbfs" not in Path("/proc/filesystems").read_text():
        pytest.skip("this kernel has no hugetlbfs")
    with on_host_with(made, _HUGEPAGES) as root:
        _starts(made)
        made.lago("stop", "vm0")
        made.lago("destroy", "--yes")
        assert list((root / "dev" / "hugepages").iterdir()) == []


@as_root
def test_no_name_in_run_keeps_a_machine_from_starting_and_none_is_added(made: Box) -> None:
    run = made.place / "run"
    for name in ("libvirt/qemu", "lago-memory/libvirt", ".lago/memory", ".host", "user"):
        (run / name).mkdir(parents=True)
    for name in (".lago-passwd", ".lago-group", ".lago-resolv.conf", "lago-notify", "libvirtd.pid"):
        (run / name).write_text("theirs")
    before = sorted(run.rglob("*"))
    with on_host_with(made, "mount('--bind', 'run', '/run')"):
        _starts(made)
        assert sorted(run.rglob("*")) == before
        made.lago("destroy", "--yes")
    assert sorted(run.rglob("*")) == before
    assert (run / ".lago-passwd").read_text() == "theirs"


@as_root
@pytest.mark.parametrize("umask", ["077", pytest.param("027", marks=pytest.mark.slow)])
def test_what_a_user_keeps_from_others_is_nothing_that_a_machine_needs(made: Box, umask: str) -> None:
    made.wrap = ["sh", "-c", 'umask "$1"; shift; exec "$@"', "sh", umask]
    _starts(made)


def test_a_directory_may_have_any_name(box: Box) -> None:
    # The session's has some more of these in its name.
    place = box.place / "-a=b,c:d#e$HOME\\%h\\"
    place.mkdir()
    made = Box(place)
    made.write(ONE)
    try:
        _starts(made)
        made.write("to and fro", "file")
        made.lago("copy-to-vm", "vm0", "file", "/root/there")
        made.lago("snapshot", "before")
        made.shell("vm0", "rm /root/there")
        made.lago("revert", "before")
        made.lago("copy-from-vm", "vm0", "/root/there", "back")
        assert (place / "back").read_text() == "to and fro"
        made.write(made.lago("ssh-config").out, "config")
        assert subprocess.check_output(["ssh", "-F", "config", "vm0", "hostname"], cwd=place) == b"vm0\n"
        shutil.copy("/bin/pwd", place / "pwd=")
        assert made.lago("nsexec", "--", str(place / "pwd=")).out == f"{place}\n"
        made.lago("fork", "other")
        assert made.lago("-P", "other", "shell", "vm0", "-c", "cat /root/there").out == "to and fro"
    finally:
        made.close()
    assert not (place / ".lago").exists()
