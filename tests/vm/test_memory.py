"""Memory that machines map: what a guest wrote is there after a revert, and saved files stay as they are."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lago.environment.prefix import Prefix
from lago.errors import HypervisorError
from lago.virt import mapped as mapped_memory
from lago.virt import migration, pages

from ..users import User
from .box import ONE, TWO, Box, processes, wait_for
from .test_failures import small

FIRMWARE = """\
domains:
  vm0: {{firmware: {}, vcpu: 1, memory: 256, disks: [{{template_name: mini}}], nics: [{{net: lan}}]}}
  cells: {{vcpu: 2, memory: 128, disks: [{{template_name: mini}}], nics: [{{net: lan}}]}}
nets: {{lan: {{}}}}
"""

CELLS = """\
domains:
  machine-no-1: {vcpu: 2, memory: 129, disks: [{template_name: mini}], nics: [{net: lan}]}
  machine-no-2: {vcpu: 4, memory: 160, disks: [{template_name: mini}], nics: [{net: lan}]}
nets: {lan: {}}
"""
MARK = "dd if=/dev/urandom of=/dev/shm/data bs=64k count={} 2>/dev/null; echo {} >/dev/shm/name; md5sum </dev/shm/data"
LOOK = "cat /dev/shm/name; md5sum </dev/shm/data"


@pytest.fixture(scope="module")
def box(module_box: Box) -> Box:
    """Two machines, of which vm0 has something in its memory, and a snapshot of them."""
    module_box.up(TWO)
    mark(module_box, "first", 200)
    module_box.lago("snapshot", "first")
    return module_box


SUMS: dict[str, str] = {}
"""What the memory of vm0 has, by snapshot."""


def mark(box: Box, name: str, size: int, prefix: str = "default", vm: str = "vm0") -> None:
    """Have a guest write so many pieces of 64 KiB into its memory."""
    done = box.lago("-P", prefix, "shell", vm, "-c", MARK.format(size, name))
    SUMS[name] = f"{name}\n{done.out}"


def look(box: Box, prefix: str = "default", vm: str = "vm0") -> str:
    """What a guest finds in its memory."""
    return box.lago("-P", prefix, "shell", vm, "-c", LOOK).out


def files(box: Box, prefix: str = "default") -> list[Path]:
    """The files with memory and states."""
    return sorted((box.place / ".lago" / prefix / "snapshots").iterdir())


def sums(box: Box) -> dict[str, str]:
    """What saved files hold."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files(box)}


def mapped(box: Box, prefix: str = "default") -> list[str]:
    """The saved files that a machine has mapped, and how."""
    maps = Path(f"/proc/{qemu(box, prefix)}/maps").read_text().splitlines()
    return sorted({f"{line.split()[1]} {line.split('/')[-1]}" for line in maps if "/snapshots/" in line})


def qemu(box: Box, prefix: str) -> int:
    """Process id of the QEMU of vm0."""
    directory = str(box.place / ".lago" / prefix)
    [pid] = [pid for pid, words in processes() if directory in words and "-vm0," in words]
    return pid


def tree(box: Box, prefix: str = "default") -> dict[str, Any]:
    """What is known of the snapshots."""
    found: dict[str, Any] = json.loads(box.lago("-P", prefix, "-f", "json", "snapshot", "tree").out)
    return found


def own_pages(box: Box, prefix: str) -> int:
    """Bytes of a machine's memory that are no saved file's."""
    pid = qemu(box, prefix)
    [path] = {path for path in files(box, prefix) if pages.mapping(pid, str(path))}
    address, size = pages.mapping(pid, str(path)) or (0, 0)
    return pages.length(pages.private(pid, address, size))


def test_a_machine_that_went_back_maps_the_saved_file_as_its_own(box: Box) -> None:
    before = sums(box)
    mark(box, "other", 300)
    box.lago("revert", "first")
    assert look(box) == SUMS["first"]
    assert [line.split()[0] for line in mapped(box)] == ["rw-p"]
    with contextlib.closing(Prefix(str(box.prefix)).virt_env) as env:
        assert env.hypervisor.process(env.get_vm("vm0").libvirt_name()) == qemu(box, "default")
    mark(box, "other", 300)
    assert look(box) == SUMS["other"]
    assert sums(box) == before


def test_nobody_may_write_to_what_is_saved(box: Box) -> None:
    assert {stat.S_IMODE(path.stat().st_mode) for path in files(box)} == {0o444}


def test_a_snapshot_after_a_revert_has_only_what_changed(box: Box) -> None:
    box.lago("revert", "first")
    mark(box, "small", 64)
    box.lago("snapshot", "small")
    saved = tree(box)
    assert saved["first"]["saved"]["vm0"].startswith("all: started")
    assert saved["small"]["saved"] == {"vm0": "changes", "vm1": "changes"}
    assert 4 << 20 < saved["small"]["bytes on disk"] < saved["first"]["bytes on disk"] / 4
    for name in ("first", "small", "first", "small"):
        box.lago("revert", name)
        assert look(box) == SUMS[name]
    # What is behind a screen, and firmware, came back as well.
    boot = "cat /proc/sys/kernel/random/boot_id"
    before = box.shell("vm0", boot)
    box.shell("vm0", "(sleep 1; reboot) >/dev/null 2>&1 &")
    assert wait_for(lambda: box.lago("shell", "vm0", "-c", boot, code=None).out not in ("", before))
    box.lago("revert", "first")
    box.lago("snapshot", "delete", "small")


@pytest.mark.slow
def test_much_that_changed_becomes_a_base_of_its_own(box: Box) -> None:
    box.lago("revert", "first")
    mark(box, "much", 700)
    box.lago("snapshot", "much")
    assert {path.name.split(".", 1)[1] for path in files(box)} == {"vm0.mem", "vm0.state", "vm1.mem", "vm1.state"}
    assert len(files(box)) == 7  # all of both, all of vm0, and what vm1 changed
    box.lago("snapshot", "more")
    box.lago("revert", "much")
    assert look(box) == SUMS["much"]
    # What is counted from the new base now is little.
    box.lago("snapshot", "after", "--replace")
    assert tree(box)["after"]["bytes on disk"] < 16 << 20
    box.lago("snapshot", "delete", "much")
    for _ in range(2):
        box.lago("revert", "after")
        assert look(box) == SUMS["much"]
    box.lago("revert", "more")
    assert look(box) == SUMS["much"]
    box.lago("revert", "first")
    box.lago("snapshot", "delete", "after")
    box.lago("snapshot", "delete", "more")
    assert len(files(box)) == 4


@pytest.mark.slow
def test_the_memory_that_a_machine_runs_on_stays_when_its_snapshot_is_deleted(box: Box) -> None:
    box.lago("revert", "first")
    box.lago("stop")
    box.lago("start")
    box.lago("snapshot", "alone")
    box.lago("revert", "alone")
    box.lago("snapshot", "delete", "alone")
    mark(box, "orphan", 30)
    box.lago("snapshot", "orphan")
    assert tree(box)["orphan"]["saved"]["vm0"] == "changes"
    box.lago("revert", "first")
    box.lago("revert", "orphan")
    assert look(box) == SUMS["orphan"]
    box.lago("revert", "first")
    box.lago("snapshot", "delete", "orphan")
    assert len(files(box)) == 4


@pytest.mark.slow
def test_a_tree_of_snapshots_is_gone_through_at_random(box: Box) -> None:
    rng = random.Random(5)
    taken = ["first"]
    for number in range(5):
        box.lago("revert", rng.choice(taken))
        name = f"node{number}"
        mark(box, name, rng.choice((1, 30, 150, 600)))
        box.lago("snapshot", name)
        taken.append(name)
    before = sums(box)
    for name in rng.choices(taken, k=10):
        box.lago("revert", name)
        assert look(box) == SUMS[name]
        mark(box, "other", rng.choice((10, 500)))
    assert sums(box) == before
    rng.shuffle(taken)
    for name in [name for name in taken if name != "first"][:-1]:
        box.lago("snapshot", "delete", name)
        taken.remove(name)
    for name in taken * 2:
        box.lago("revert", name)
        assert look(box) == SUMS[name]
    box.lago("revert", "first")
    box.lago("snapshot", "delete", *[name for name in taken if name != "first"])


@pytest.mark.slow
def test_forks_of_forks_outlive_what_they_came_from(box: Box) -> None:
    box.lago("fork", "child", "--from", "first")
    assert look(box, "child") == SUMS["first"]
    mark(box, "mine", 100, "child")
    box.lago("-P", "child", "fork", "grandchild")
    box.lago("-P", "child", "destroy", "--yes")
    assert look(box, "grandchild") == SUMS["mine"]
    mark(box, "later", 50, "grandchild")
    before = look(box)
    box.lago("-P", "grandchild", "snapshot", "later")
    assert tree(box, "grandchild")["later"]["saved"]["vm0"] == "changes"
    box.lago("-P", "grandchild", "revert", "later")
    assert look(box, "grandchild") == SUMS["later"]
    # What it has beside the page cache, that all share, is little.
    assert own_pages(box, "grandchild") < 32 << 20
    assert look(box) == before
    box.lago("-P", "grandchild", "destroy", "--yes")


@pytest.mark.slow
def test_packed_memory_comes_back_also_after_a_revert(box: Box) -> None:
    box.lago("revert", "first")
    mark(box, "packed", 60)
    box.lago("snapshot", "packed", "--compress")
    # The base is another snapshot's.
    assert sorted(path.suffixes[-1] for path in files(box)).count(".zst") == 2
    box.lago("stop")
    box.lago("start")
    mark(box, "whole", 60)
    box.lago("snapshot", "whole", "--compress")
    assert sorted(path.suffixes[-1] for path in files(box)).count(".zst") == 6
    for name in ("packed", "whole", "packed", "whole"):
        box.lago("revert", name)
        assert look(box) == SUMS[name]
    # It runs on a file that is gone.
    mark(box, "after", 100)
    box.lago("snapshot", "after")
    assert tree(box)["after"]["saved"]["vm0"] == "all: the memory that it came from is gone or packed"
    box.lago("revert", "after")
    assert look(box) == SUMS["after"]
    box.lago("revert", "first")
    for name in ("packed", "whole", "after"):
        box.lago("snapshot", "delete", name)
    assert len(files(box)) == 4


@pytest.mark.parametrize("where", ["the whole of it", "what changed"])
@pytest.mark.slow
def test_what_can_not_be_saved_quickly_is_saved_as_a_whole(
    box: Box, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def refused(*_: object) -> None:
        raise HypervisorError("it is refused")

    box.lago("revert", "first")
    mark(box, "slow", 60)
    prefix = Prefix(str(box.prefix))
    with monkeypatch.context() as patch, contextlib.closing(prefix.virt_env):
        if where == "what changed":
            patch.setattr(migration, "write", refused)
        else:
            patch.setattr(migration, "blocked", refused)
        prefix.create_snapshots("slow")
    assert tree(box)["slow"]["saved"]["vm0"] == "all: it is refused"
    mark(box, "other", 100)
    box.lago("revert", "slow")
    assert look(box) == SUMS["slow"]
    # From there it is quick again.
    box.lago("snapshot", "quick")
    assert tree(box)["quick"]["saved"]["vm0"] == "changes"
    box.lago("revert", "quick")
    assert look(box) == SUMS["slow"]
    box.lago("revert", "first")
    box.lago("snapshot", "delete", "slow")
    box.lago("snapshot", "delete", "quick")


@pytest.mark.slow
def test_what_can_not_be_mapped_is_copied(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object) -> dict[str, object]:
        return {"qom-type": "memory-backend-none", "id": "lago.ram"}

    box.lago("revert", "first")
    mark(box, "copied", 60)
    box.lago("snapshot", "copied")
    for name in ("first", "copied"):
        prefix = Prefix(str(box.prefix))
        with monkeypatch.context() as patch, contextlib.closing(prefix.virt_env):
            patch.setattr(mapped_memory, "_object", nothing)
            prefix.revert_snapshots(name)
        assert mapped(box) == []
        assert look(box) == SUMS[name]
    box.lago("snapshot", "again")
    box.lago("revert", "again")
    assert look(box) == SUMS["copied"]
    box.lago("revert", "first")
    box.lago("snapshot", "delete", "copied")
    box.lago("snapshot", "delete", "again")


@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_while_changes_are_saved_and_merged_no_snapshot_is_lost(box: Box, times: int) -> None:
    rng = random.Random(3)
    before = None
    for number in range(times):
        box.lago("revert", "first")
        before = before or sums(box)
        mark(box, "doomed", 700 if number % 2 else 60)
        process = box.popen("snapshot", "doomed", "--replace")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0.1, 3.0))
        process.kill()
        process.communicate()
        box.lago("start")
        assert look(box) == SUMS["doomed"]
        if "doomed" in tree(box):
            box.lago("revert", "first")
            box.lago("revert", "doomed")
            assert look(box) == SUMS["doomed"]
            box.lago("revert", "first")
            box.lago("snapshot", "delete", "doomed")
    box.lago("revert", "first")
    assert look(box) == SUMS["first"]
    assert sums(box) == before


@contextlib.contextmanager
def small_disk(tmp_path: Path, mib: int) -> Iterator[Path]:
    """A small file system that is no memory."""
    place, image = tmp_path / "disk", tmp_path / "image"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(mib << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-F", str(image)], check=True)
    argv = ["mount", "-o", "loop", str(image), str(place)]
    if subprocess.run(argv, capture_output=True, check=False).returncode:
        pytest.skip("no loop devices here")
    try:
        yield place
    finally:
        # A thread that nobody waits for may have a file open yet.
        argv = ["umount", str(place)]
        assert wait_for(lambda: subprocess.run(argv, capture_output=True, check=False).returncode == 0)


@pytest.mark.slow
def test_memory_in_a_tmpfs_is_copied_and_no_machine_ends_when_that_is_full(mini: Path, tmp_path: Path) -> None:
    with small(tmp_path, 200_000), contextlib.closing(Box(tmp_path)) as box:
        box.write(ONE)
        box.lago("init")
        box.lago("start")
        box.lago("snapshot", "base")
        box.lago("revert", "base")
        assert mapped(box) == []
        (tmp_path / "full").write_bytes(bytes(shutil.disk_usage(tmp_path).free - (4 << 20)))
        mark(box, "data", 700)
        assert look(box) == SUMS["data"]
        (tmp_path / "full").unlink()
        box.lago("destroy", "--yes")


@pytest.mark.slow
def test_on_a_full_disk_changes_are_not_kept_and_all_go_on(mini: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path, 300) as place, contextlib.closing(Box(place)) as box:
        box.write(ONE)
        box.lago("init")
        box.lago("start")
        box.lago("snapshot", "base")
        box.lago("revert", "base")
        (place / "full").write_bytes(bytes(shutil.disk_usage(place).free - (8 << 20)))
        mark(box, "data", 500)
        found = files(box)
        done = box.lago("snapshot", "big", code=2)
        assert "hint: the disk is full: " in done.err
        assert files(box) == found
        assert look(box) == SUMS["data"]
        (place / "full").unlink()
        # There is room for what changed, and none for a base of it.
        (place / "full").write_bytes(bytes(shutil.disk_usage(place).free - (80 << 20)))
        box.lago("snapshot", "big")
        assert tree(box)["big"]["saved"]["vm0"] == "changes"
        (place / "full").unlink()
        for name in ("base", "big"):
            box.lago("revert", name)
        assert look(box) == SUMS["data"]
        box.lago("destroy", "--yes")


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
@pytest.mark.slow
def test_an_ordinary_user_saves_only_what_changed(mini: Path, throwaway_user: User, firmware: str) -> None:
    with contextlib.closing(Box.of_user(throwaway_user, mini, "memory")) as box:
        box.up(FIRMWARE.format(firmware))
        mark(box, "base", 100)
        mark(box, "base of cells", 700, vm="cells")
        box.lago("snapshot", "base")
        box.lago("revert", "base")
        assert look(box) == SUMS["base"]
        mark(box, "next", 60)
        mark(box, "next of cells", 120, vm="cells")
        box.lago("snapshot", "next")
        assert tree(box)["next"]["saved"] == {"vm0": "changes", "cells": "changes"}
        before = sums(box)
        for name in ("base", "next", "base", "next"):
            box.lago("revert", name)
            assert look(box) == SUMS[name]
            assert look(box, vm="cells") == SUMS[f"{name} of cells"]
        assert sums(box) == before


@pytest.mark.slow
def test_machines_with_several_cells_map_a_file_for_each(mini: Path, tmp_path: Path) -> None:
    names = ("machine-no-1", "machine-no-2")  # which libvirt's directories don't tell apart
    with contextlib.closing(Box(tmp_path)) as box:
        box.write(CELLS)
        box.lago("init")
        box.lago("start")
        for number, vm in enumerate(names):
            mark(box, f"base of {vm}", 700 + number, vm=vm)
        box.lago("snapshot", "base")
        first = sums(box)
        box.lago("fork", "early", "--from", "base")
        parts = {path.name for path in files(box)} - set(first)
        # Whoever maps them first makes them, and all others have links.
        assert {path.stat().st_nlink for path in [*files(box), *files(box, "early")]} == {2}
        box.lago("-P", "early", "destroy", "--yes")
        box.lago("revert", "base")
        assert {name.split(".", 1)[1] for name in parts} == {f"{vm}.mem.1" for vm in names}
        for number, vm in enumerate(names):
            assert look(box, vm=vm) == SUMS[f"base of {vm}"]
            mark(box, f"next of {vm}", 60 + number, vm=vm)
        box.lago("snapshot", "next")
        assert tree(box)["next"]["saved"] == dict.fromkeys(names, "changes")
        box.lago("fork", "other", "--from", "next")
        assert {path.stat().st_nlink for path in files(box, "other") if path.name in parts} == {2}
        for name in ("base", "next", "base", "next"):
            box.lago("revert", name)
            for vm in names:
                assert look(box, vm=vm) == SUMS[f"{name} of {vm}"]
        for vm in names:
            assert look(box, "other", vm) == SUMS[f"next of {vm}"]
        assert {path.name: sums(box)[path.name] for path in files(box) if path.name in first} == first
        box.lago("-P", "other", "destroy", "--yes")
        box.lago("stop")
        box.lago("snapshot", "delete", "base")
        box.lago("snapshot", "delete", "next")
        assert files(box) == []
