"""`lago up`, and what it keeps."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .box import Box

INIT_FILE = """
domains:
  vm0:
    memory: 128
    vcpu: 1
    disks: [{template_name: mini}]
    nics: [{net: lan}]
    metadata: {deploy-scripts: [setup.sh]}
nets: {lan: {}}
"""
SETUP = "cat /proc/sys/kernel/random/boot_id >/root/deployed; sync\n"


@pytest.fixture(scope="module")
def box(module_box: Box) -> Box:
    """An init file with a deploy script; nothing is kept yet."""
    module_box.env["XDG_CACHE_HOME"] = str(module_box.place / "cache")
    module_box.write(INIT_FILE)
    module_box.write(SETUP, "setup.sh")
    return module_box


def kept(box: Box) -> list[str]:
    return [one["key"] for one in json.loads(box.lago("-f", "json", "warm", "list").out)]


def deployed(box: Box) -> str:
    return box.shell("vm0", "cat /root/deployed")


def test_up_is_init_start_and_deploy_and_the_second_time_start_alone(box: Box) -> None:
    box.lago("up")
    boot = deployed(box)
    box.lago("stop")
    box.lago("up")
    assert box.states() == {"vm0": "running"}
    assert deployed(box) == boot
    assert kept(box) == []
    box.lago("destroy", "--yes")


def test_what_was_kept_goes_on_without_boot_or_deploy(box: Box) -> None:
    box.lago("up", "--warm")
    boot = deployed(box)
    assert len(kept(box)) == 1
    for _ in range(2):
        box.lago("destroy", "--yes")
        box.lago("up", "--warm")
        assert box.shell("vm0", "cat /proc/sys/kernel/random/boot_id") == boot
        assert deployed(box) == boot
    assert len(kept(box)) == 1


def test_what_fits_no_more_is_not_used(box: Box) -> None:
    boot = deployed(box)
    box.lago("destroy", "--yes")
    box.write(SETUP + "echo changed >>/root/deployed\n", "setup.sh")
    box.lago("up", "--warm")
    assert deployed(box).splitlines()[1] == "changed"
    assert not deployed(box).startswith(boot)
    assert len(kept(box)) == 2
    box.lago("destroy", "--yes")


def test_the_longest_unused_goes_when_there_is_no_room(box: Box) -> None:
    newest, oldest = kept(box)
    gone = json.loads(box.lago("-f", "json", "warm", "prune", env={"LAGO_WARM_LIMIT": "100"}).out)
    assert [one["key"] for one in gone] == [oldest]
    assert kept(box) == [newest]
    box.lago("warm", "prune", "--all")
    assert kept(box) == []
    assert not list(Path(box.env["XDG_CACHE_HOME"], "lago", "warm").glob("[!.]*"))


def _rewritten(path: Path, change: Callable[[bytes], bytes]) -> None:
    data = path.read_bytes()
    assert change(data) != data
    path.unlink()
    path.write_bytes(change(data))


def _of_another(pattern: bytes, other: bytes) -> Callable[[Path], None]:
    """Damage: what is saved of the machine's devices is of a machine that this host does not have."""

    def change(data: bytes) -> bytes:
        return re.sub(pattern, lambda found: other.ljust(len(found[0])), data, count=1)

    return lambda kept: _rewritten(next(kept.glob("snapshots/*.state")), change)


def _cut(pattern: str) -> Callable[[Path], None]:
    return lambda kept: _rewritten(next(kept.glob(pattern)), lambda data: data[: len(data) // 2])


DAMAGE: dict[str, Callable[[Path], None]] = {
    "machine type": _of_another(rb"machine='[^']+'", b"machine='pc-0.0'"),
    "accelerator": _of_another(rb"<domain type='\w+'", b"<domain type='hvf'"),
    "state": _cut("snapshots/*.state"),
    "index": _cut("virt/snapshots"),
    "layer": lambda kept: next(kept.glob("images/*")).unlink(),
}


@pytest.mark.parametrize(
    "what", [pytest.param(one, marks=[pytest.mark.slow] if n else []) for n, one in enumerate(DAMAGE)]
)
def test_what_can_not_go_on_here_boots_and_is_kept_anew(box: Box, what: str) -> None:
    box.lago("up", "--warm")
    boot = deployed(box)
    [key] = kept(box)
    box.lago("destroy", "--yes")
    DAMAGE[what](Path(box.env["XDG_CACHE_HOME"], "lago", "warm", key))
    done = box.lago("up", "--warm")
    assert len(re.findall("what was kept can't go on here, so machines boot: .", done.err)) == 1, done.err
    assert deployed(box) != boot
    assert box.states() == {"vm0": "running"}
    assert kept(box) == [key]
    boot = deployed(box)
    box.lago("destroy", "--yes")
    done = box.lago("up", "--warm")
    assert "what was kept" not in done.err
    assert deployed(box) == boot
    box.lago("destroy", "--yes")
    box.lago("warm", "prune", "--all")
