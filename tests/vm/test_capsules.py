"""Capsules with real machines: kept when a test fails, opened here and elsewhere, whole or not there at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..users import User
from .box import TWO, Box, kill, wait_for

_PATIENCE = 400
TEST = """
import pathlib, pytest

COUNT = "i=0; while :; do i=$((i+1)); echo $i >/run/counter; sleep 0.1; done"

def ssh(vm, command):
    done = vm.ssh(command)
    assert done.code == 0
    return done.out.decode().strip()

@pytest.fixture
def tidy(lago_vms):
    yield
    # What a capsule must not see: it is of the instant before.
    ssh(lago_vms["vm0"], "echo tidied >/root/file; echo 0 >/run/counter; rm -f /run/here")

@pytest.mark.parametrize("word", ["a b/ü"])
def test_it(lago_faults, tidy, word):
    vm = lago_faults.get_vms()["vm0"]
    ssh(vm, f"touch /run/here; setsid sh -c '{COUNT}' >/dev/null 2>&1 </dev/null &")
    ssh(vm, "until test -s /run/counter; do sleep 0.1; done; echo failing >/root/file")
    lago_faults.cut("vm1")
    boot = ssh(vm, "cat /proc/sys/kernel/random/boot_id")
    pathlib.Path("then").write_text(boot + " " + ssh(vm, "cat /run/counter"))
    assert False, "so it is"

def test_that_passes(lago_vms):
    assert not lago_vms["vm1"].env is None
"""
NAME = "test_it-test_it-a-b-xfc"


def pytest_in(box: Box, *words: str) -> subprocess.CompletedProcess[str]:
    """Run pytest there."""
    argv = box.argv(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--lago-capsule", *words)
    return subprocess.run(
        argv,
        cwd=box.place,
        env=box.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=_PATIENCE,
    )


def listed(box: Box) -> dict[str, Any]:
    """What `lago capsule list` says."""
    found: dict[str, Any] = json.loads(box.lago("-f", "json", "capsule", "list").out)
    return found


def left_in(place: Path) -> list[str]:
    """What killed commands left among capsules."""
    return [name for name in os.listdir(place) if name.startswith(".lago-unfinished-")] if place.is_dir() else []


def capsules(box: Box) -> Path:
    """The directory of capsules."""
    return Path(box.env["LAGO_CAPSULE_DIR"])


def elsewhere(box: Box, name: str) -> Box:
    """A directory and a home of another host, with the same templates."""
    place = box.place.parent / name
    place.mkdir()
    data = {"HOME": str(place / "home"), "XDG_DATA_HOME": str(place / "data"), "XDG_CACHE_HOME": str(place / "cache")}
    Path(data["HOME"]).mkdir()
    return Box(place, env={**data, "LAGO_CAPSULE_DIR": str(place / "kept")})


def shown_to_go_on(box: Box, opened: str) -> None:
    """See that the machines of an opened capsule go on from the instant of the failure."""
    boot, counted = (FAILED["then"]).split()
    shell = ("-P", opened, "shell", "vm0", "-c")
    assert box.lago(*shell, "cat /proc/sys/kernel/random/boot_id").out.strip() == boot
    first = int(box.lago(*shell, "cat /run/counter").out)
    assert first >= int(counted)
    assert box.lago(*shell, "ls /run/here; cat /root/file").out.split() == ["/run/here", "failing"]
    assert wait_for(lambda: int(box.lago(*shell, "cat /run/counter").out or 0) > first)
    faults = box.lago("-P", opened, "fault", "list").out
    assert "cut" in faults
    assert "vm1" in faults


FAILED: dict[str, str] = {}


@pytest.fixture(scope="module")
def box(module_box: Box) -> Box:
    """A directory in which a test has failed, of which there is a capsule."""
    box = Box(module_box.place / "a dir", env={"LAGO_CAPSULE_DIR": str(module_box.place / "kept capsules")})
    box.place.mkdir()
    module_box.env |= box.env
    box.write(TWO)
    box.write(TEST, "test_it.py")
    FAILED["said"] = pytest_in(box, "--junitxml=junit.xml").stdout
    FAILED["then"] = (box.place / "then").read_text() if (box.place / "then").exists() else ""
    return box


@pytest.fixture(autouse=True)
def closed(request: pytest.FixtureRequest) -> Iterator[None]:
    """No environment of a test is there when the next begins."""
    yield
    for place in (request.getfixturevalue("box").place.parent).glob("*/.lago"):
        Box(place.parent).lago("destroy", "--yes", "--all-prefixes")


def test_a_failed_test_leaves_a_capsule_and_the_command_that_opens_it(box: Box) -> None:
    assert "1 failed, 1 passed" in FAILED["said"]
    assert f"lago capsule open {NAME}" in FAILED["said"].split("capsules of failed tests")[1]
    assert not (box.place / ".lago-pytest").exists()
    names = {
        str(one.get("name")): one.get("value")
        for case in ET.parse(box.place / "junit.xml").iter("testcase")
        if str(case.get("name")).startswith("test_it")
        for one in case.iter("property")
    }
    assert names["lago_capsule"] == NAME
    [(name, about)] = listed(box).items()
    assert name == NAME
    assert about["test"].startswith("test_it.py::test_it[a b/")
    assert about["machines"] == {"1-session": {"vm0": "running", "vm1": "running"}}
    assert about["faults"] == {"1-session": ["cut vm1"]}
    assert not about["open"]
    assert not left_in(capsules(box))


def test_opened_its_machines_go_on_from_the_failure_with_what_was_broken(box: Box) -> None:
    said = box.lago("capsule", "open", NAME).out
    assert f"lago -P {NAME} shell vm0" in said
    shown_to_go_on(box, NAME)
    [at] = listed(box)[NAME]["open"]
    assert at == str(box.place / ".lago" / NAME)
    # What is open stays, and a second one is beside it.
    assert json.loads(box.lago("-f", "json", "capsule", "prune", "--all").out) == []
    box.lago("capsule", "open", NAME)
    shown_to_go_on(box, f"{NAME}-2")


def test_exported_it_goes_on_in_another_home(box: Box) -> None:
    file = box.place / "it.capsule"
    box.lago("capsule", "export", NAME, str(file))
    there = elsewhere(box, "other")
    said = there.lago("capsule", "import", str(file), "--restrict", code=2).err
    assert "memory" in said
    assert "--without-memory" in said
    there.lago("capsule", "import", str(file))
    assert listed(there)[NAME]["imported"]
    there.lago("capsule", "open", NAME, "again")
    shown_to_go_on(there, "again")


@pytest.mark.slow
def test_standalone_it_needs_no_template(box: Box) -> None:
    file, empty = box.place / "whole.capsule", box.place / "thin.capsule"
    box.lago("capsule", "export", NAME, str(file), "--standalone")
    box.lago("capsule", "export", NAME, str(empty))
    there = elsewhere(box, "empty")
    there.env["LAGO_TEMPLATE_STORE"] = str(there.place / "store")
    missing = there.lago("capsule", "import", str(empty), code=2).err
    assert "lago:mini:" in missing
    assert "--standalone" in missing
    assert "lago template fetch mini" in missing
    there.lago("capsule", "import", str(file))
    assert [name for name in os.listdir(there.place / "store") if name.startswith("lago:")] == []
    there.lago("capsule", "open", NAME)
    shown_to_go_on(there, NAME)
    there.lago("-P", NAME, "stop")
    there.lago("-P", NAME, "start")
    there.lago("-P", NAME, "destroy", "--yes")


def _about_another(box: Box, **host: str) -> str:
    path = capsules(box) / NAME / "capsule.json"
    before = path.read_text()
    data = json.loads(before)
    data["host"] |= host
    path.write_text(json.dumps(data))
    return before


def test_memory_of_another_qemu_is_refused_first_and_disks_boot_without_it(box: Box) -> None:
    before = _about_another(box, QEMU="1.0")
    try:
        said = box.lago("capsule", "open", NAME, code=2).err
        assert "QEMU: 1.0 then" in said
        assert f"lago capsule open --without-memory {NAME}" in said
        assert not (box.place / ".lago").exists()
        box.lago("capsule", "open", "--without-memory", NAME, "disks")
    finally:
        (capsules(box) / NAME / "capsule.json").write_text(before)
    assert box.lago("-P", "disks", "shell", "vm0", "-c", "ls /run/here", code=None).code != 0
    assert box.lago("-P", "disks", "fault", "list").out.strip() in ("", "nothing is broken")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["export", "import"])
def test_killed_in_the_middle_there_is_nothing_or_a_whole(box: Box, what: str) -> None:
    there = elsewhere(box, f"killed {what}")
    file = there.place / "it.capsule"
    if what == "import":
        box.lago("capsule", "export", NAME, str(file))
    words = ("export", NAME, str(file)) if what == "export" else ("import", str(file))
    place = box if what == "export" else there
    for number in range(12):
        with place.popen("capsule", *words) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.3 + 0.25 * number)
            process.send_signal(signal.SIGKILL)
        if what == "export":
            assert not [one for one in os.listdir(there.place) if "it.capsule" in one and one != "it.capsule"]
            if file.exists():
                there.lago("capsule", "import", str(file))
                file.unlink()
    there.lago("capsule", "prune")
    assert not left_in(capsules(there))
    for name in listed(there):
        there.lago("capsule", "open", name, f"o{name[-1]}")
        there.lago("-P", f"o{name[-1]}", "destroy", "--yes")


@pytest.mark.slow
def test_killed_while_one_is_made_nothing_is_left_and_the_environment_goes_on(box: Box) -> None:
    killed = Box(box.place.parent / "making", env={"LAGO_CAPSULE_DIR": str(box.place.parent / "making" / "kept")})
    killed.place.mkdir()
    killed.up_warm(TWO)
    make = (
        "import sys; from lago.environment.capsule import making; from lago import Prefix;"
        "making.make('test_it.py::test', {'default': Prefix(sys.argv[1])})"
    )
    for number in range(8):
        argv = [sys.executable, "-c", make, str(killed.prefix)]
        process = subprocess.Popen(argv, cwd=killed.place, env=killed.environment())
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.4 + 0.2 * number)
        if process.poll() is None:
            kill(process.pid)
        process.wait()
    assert killed.shell("vm0", "echo alive").strip() == "alive"
    killed.lago("capsule", "prune")
    assert not left_in(capsules(killed))
    for name in listed(killed):
        killed.lago("capsule", "open", name, f"o-{name}")
        killed.lago("-P", f"o-{name}", "destroy", "--yes")


@pytest.mark.slow
def test_an_ordinary_user_keeps_opens_exports_and_imports(mini: Path, throwaway_user: User, box: Box) -> None:
    mine = Box.of_user(throwaway_user, mini, "a place with space")
    mine.write(TWO)
    mine.write(TEST, "test_it.py")
    said = pytest_in(mine).stdout
    assert f"lago capsule open {NAME}" in said
    mine.lago("capsule", "export", NAME, "it.capsule")
    mine.lago("capsule", "delete", NAME)
    assert listed(mine) == {}
    mine.lago("capsule", "import", "it.capsule")
    mine.lago("capsule", "open", NAME)
    assert mine.lago("-P", NAME, "shell", "vm0", "-c", "cat /root/file").out.strip() == "failing"
    mine.close()


def test_when_there_is_no_room_the_longest_unused_goes(box: Box) -> None:
    # As a copy, which has nothing in common with the other.
    old = capsules(box) / "old"
    shutil.copytree(capsules(box) / NAME, old)
    os.utime(old, (1, 1))
    gone = json.loads(box.lago("-f", "json", "capsule", "prune", env={"LAGO_CAPSULE_LIMIT": "200"}).out)
    assert [one["name"] for one in gone] == ["old"]
    assert [*listed(box)] == [NAME]
    box.lago("capsule", "delete", NAME)
    assert listed(box) == {}
    assert not left_in(capsules(box))


@pytest.mark.slow
def test_workers_of_xdist_make_them_and_the_summary_has_all(box: Box) -> None:
    place = Box(box.place.parent / "workers", env={"LAGO_CAPSULE_DIR": str(box.place.parent / "workers" / "kept")})
    place.place.mkdir()
    place.write(TWO)
    text = "def test_it(lago_env): assert False\n"
    for name in ("test_a.py", "test_b.py"):
        place.write(text, name)
    said = pytest_in(place, "-n", "2", "--dist", "loadfile").stdout
    assert "2 failed" in said
    for name in ("test_a-test_it", "test_b-test_it"):
        assert f"lago capsule open {name}\n" in said.split("capsules of failed tests")[1]
    assert sorted(listed(place)) == ["test_a-test_it", "test_b-test_it"]


UNABLE = """
import pathlib

def test_it(lago_env):
    pathlib.Path("kept").write_text("no directory")
    assert False, "for this alone"
"""


def test_a_capsule_that_can_not_be_made_changes_no_outcome_and_is_said(box: Box) -> None:
    place = Box(box.place.parent / "unable", env={"LAGO_CAPSULE_DIR": "kept"})
    place.place.mkdir()
    place.write(TWO.replace("  vm1:", "  vm2:"))
    place.write(UNABLE, "test_it.py")
    said = pytest_in(place).stdout
    assert "1 failed" in said
    assert "for this alone" in said
    assert "there is no capsule of it" in said.split("capsules of failed tests")[1]
    assert not (place.place / ".lago-pytest").exists()
