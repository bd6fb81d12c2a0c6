"""Memory that machines map: what a guest wrote is there after a revert, and saved files stay as they are."""

from __future__ import annotations

import hashlib
import random
import stat
from pathlib import Path

import pytest

from .box import TWO, Box, processes

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


def mark(box: Box, name: str, size: int, prefix: str = "default") -> None:
    """Have a guest write so many pieces of 64 KiB into its memory."""
    done = box.lago("-P", prefix, "shell", "vm0", "-c", MARK.format(size, name))
    SUMS[name] = f"{name}\n{done.out}"


def look(box: Box, prefix: str = "default") -> str:
    """What the guest finds in its memory."""
    return box.lago("-P", prefix, "shell", "vm0", "-c", LOOK).out


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


def test_a_machine_that_went_back_maps_the_saved_file_as_its_own(box: Box) -> None:
    before = sums(box)
    mark(box, "other", 300)
    box.lago("revert", "first")
    assert look(box) == SUMS["first"]
    assert [line.split()[0] for line in mapped(box)] == ["rw-p"]
    mark(box, "other", 300)
    assert look(box) == SUMS["other"]
    assert sums(box) == before


def test_nobody_may_write_to_what_is_saved(box: Box) -> None:
    assert {stat.S_IMODE(path.stat().st_mode) for path in files(box)} == {0o444}


def test_a_tree_of_snapshots_is_gone_through_at_random(box: Box) -> None:
    rng = random.Random(5)
    taken = ["first"]
    for number in range(4):
        box.lago("revert", rng.choice(taken))
        name = f"node{number}"
        mark(box, name, rng.randrange(1, 400))
        box.lago("snapshot", name)
        taken.append(name)
    before = sums(box)
    for name in rng.choices(taken, k=8):
        box.lago("revert", name)
        assert look(box) == SUMS[name]
        mark(box, "other", 500)
    assert sums(box) == before
    box.lago("revert", taken[-1])
    for name in taken[1:-1]:
        box.lago("snapshot", "delete", name)
    box.lago("revert", taken[-1])
    assert look(box) == SUMS[taken[-1]]
    box.lago("revert", "first")
    box.lago("snapshot", "delete", taken[-1])


def test_forks_of_forks_outlive_what_they_came_from(box: Box) -> None:
    box.lago("fork", "child", "--from", "first")
    assert look(box, "child") == SUMS["first"]
    mark(box, "mine", 100, "child")
    box.lago("-P", "child", "fork", "grandchild")
    box.lago("-P", "child", "destroy", "--yes")
    assert look(box, "grandchild") == SUMS["mine"]
    mark(box, "later", 50, "grandchild")
    box.lago("-P", "grandchild", "snapshot", "later")
    box.lago("-P", "grandchild", "revert", "later")
    assert look(box, "grandchild") == SUMS["later"]
    box.lago("-P", "grandchild", "destroy", "--yes")


def test_packed_memory_comes_back_also_after_a_revert(box: Box) -> None:
    box.lago("revert", "first")
    mark(box, "packed", 300)
    box.lago("snapshot", "packed", "--compress")
    assert [path.suffix for path in files(box)].count(".zst") == 4
    for _ in range(2):
        box.lago("revert", "packed")
        assert look(box) == SUMS["packed"]
    # It runs on a file that is gone.
    mark(box, "after", 100)
    box.lago("snapshot", "after")
    box.lago("revert", "after")
    assert look(box) == SUMS["after"]
    box.lago("snapshot", "delete", "packed")
    box.lago("revert", "after")
    assert look(box) == SUMS["after"]
