"""What comes out of an environment: machines under Ansible, files collected, exports that start elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .box import Box, wait_for

INIT_FILE = """
x-small: &small {memory: 128, vcpu: 1, disks: [{template_name: mini}], nics: [{net: lan}]}
domains:
  vm0:
    <<: *small
    disks: [{template_name: mini}, {path: data.raw, make_a_copy: true}]
    groups: [web, db]
    artifacts: &a [/root/log, /root/tree, /root/link, /nowhere]
  vm1: {<<: *small, groups: web, artifacts: *a}
nets: {lan: {}}
"""

PLAYBOOK = """
- hosts: web
  gather_facts: false
  tasks:
    - raw: hostname
      register: said
    - assert: {that: said.stdout.strip() == inventory_hostname}
    - script: greet.sh {{ inventory_hostname }}
- hosts: db
  gather_facts: false
  tasks:
    - raw: touch /root/db
"""


@pytest.fixture(scope="module")
def box(module_box: Box) -> Box:
    """Two machines that run; one has a second disk, with a file system."""
    subprocess.run(["mke2fs", "-q", "-t", "ext4", str(module_box.place / "data.raw"), "8M"], check=True)
    module_box.up(INIT_FILE)
    return module_box


def playbook(box: Box, inventory: str) -> str:
    box.write(PLAYBOOK, "play.yml")
    box.write('echo "hello $1" >/root/greeting\n', "greet.sh")
    argv = [sys.executable, "-m", "ansible", "playbook", "-i", inventory, "play.yml"]
    done = subprocess.run(argv, cwd=box.place, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_ansible_reaches_all_machines_by_the_inventory_as_it_is(box: Box) -> None:
    box.write(box.lago("ansible_hosts").out, "inventory")
    said = playbook(box, "inventory")
    assert said.count("unreachable=0    failed=0") == 2
    assert [box.shell(vm, "cat /root/greeting") for vm in ("vm0", "vm1")] == ["hello vm0\n", "hello vm1\n"]
    assert box.shell("vm0", "ls /root/db") == "/root/db\n"
    box.lago("shell", "vm1", "-c", "ls /root/db", code=1)


def test_ansible_takes_the_inventory_as_data_too(box: Box) -> None:
    data = json.loads(box.lago("-f", "json", "ansible-hosts", "-k", "nics/0/net").out)
    assert data["nics/0/net=lan"] == {"hosts": ["vm0", "vm1"]}
    script = box.write(f"#!/bin/sh\ncat <<'END'\n{json.dumps(data)}\nEND\n", "inventory.sh")
    script.chmod(0o755)
    assert playbook(box, "inventory.sh").count("unreachable=0    failed=0") == 2


FILES = r"""
cd /root; echo "log of $(hostname)" >log; chmod 640 log
mkdir -p "tree/ü x"; printf '\377\000' >"tree/ü x/bytes"; ln -s /etc/passwd tree/absolute; ln -sf /root/log link; sync
"""


def _check_collected(output: Path, vm: str) -> None:
    place = output / vm
    assert (place / "_root_log").read_text() == f"log of {vm}\n"
    assert (place / "_root_log").stat().st_mode & 0o777 == 0o640
    assert (place / "_root_tree" / "ü x" / "bytes").read_bytes() == b"\xff\0"
    assert (place / "_root_tree" / "absolute").is_symlink()
    assert (place / "_root_link").read_text() == f"log of {vm}\n"
    assert not (place / "_root_link").is_symlink()
    assert not (place / "_nowhere").exists()
    assert (place / "qemu.log").stat().st_size
    assert (place / "console.log").exists()
    assert sorted(path.name for path in output.iterdir()) == ["lago.log", "vm0", "vm1"]


def test_artifacts_of_machines_that_run_are_collected_and_what_was_there_is_kept(box: Box, tmp_path: Path) -> None:
    output = tmp_path / "new" / "out"
    output.mkdir(parents=True)
    (output / "mine").touch()
    for vm in ("vm0", "vm1"):
        box.shell(vm, FILES)
    done = json.loads(box.lago("-f", "json", "collect", "--output", str(output)).out)
    assert done["vm0"]["missing"] == ["/nowhere"]
    assert str(output / "vm0" / "_root_log") in done["vm0"]["files"]
    for vm in ("vm0", "vm1"):
        _check_collected(output, vm)
    former, now = sorted(output.parent.iterdir(), key=lambda path: len(path.name), reverse=True)
    assert (former.name[:4], now.name) == ("out.", "out")
    assert [path.name for path in former.iterdir()] == ["mine"]


def test_what_is_not_there_fails_if_it_is_not_to_be_skipped_and_the_rest_is_collected(box: Box, tmp_path: Path) -> None:
    done = box.lago("collect", "--no-skip", "--output", str(tmp_path / "out"), code=2)
    assert "vm0: /nowhere\n    vm1: /nowhere\n" in done.err
    _check_collected(tmp_path / "out", "vm1")


def test_extract_paths_puts_each_path_where_it_is_told(box: Box, tmp_path: Path) -> None:
    code = f"""
from lago import Prefix
from lago.errors import ExtractPathNoPathError
vm = Prefix({str(box.prefix)!r}).virt_env.get_vm("vm0")
vm.extract_paths([("/root/log", {str(tmp_path / "a")!r}), ("/root/log", {str(tmp_path / "b")!r})])
vm.extract_paths([("/nowhere", {str(tmp_path / "c")!r})], ignore_nopath=True)
try:
    vm.extract_paths([("/root/tree", {str(tmp_path / "t")!r}), ("/nowhere", {str(tmp_path / "c")!r})])
except ExtractPathNoPathError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=box.environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "vm0: /nowhere: there is no such path on the guest\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "t"]
    assert (tmp_path / "b").read_text() == "log of vm0\n"
    assert (tmp_path / "t" / "ü x" / "bytes").exists()


@pytest.mark.slow
def test_a_machine_that_is_down_is_read_from_its_disks(box: Box, tmp_path: Path) -> None:
    for vm in ("vm0", "vm1"):
        box.shell(vm, FILES)
    box.lago("stop", "vm0")
    box.lago("collect", "--output", str(tmp_path / "out"))
    for vm in ("vm0", "vm1"):
        _check_collected(tmp_path / "out", vm)
    assert box.states() == {"vm0": "down", "vm1": "running"}


@pytest.mark.slow
def test_machines_that_are_down_or_hang_are_read_from_their_disks(box: Box, tmp_path: Path) -> None:
    box.up(INIT_FILE)
    for vm in ("vm0", "vm1"):
        box.shell(vm, FILES)
    box.lago("stop", "vm0")
    # A guest that runs, and whose ssh server does not answer any more.
    with box.popen("shell", "vm1", "-c", "kill -STOP $(pidof dropbear); echo hangs now >/dev/console") as process:
        assert wait_for(lambda: "hangs now" in (box.prefix / "logs" / "vm1.console.log").read_text())
        process.kill()
    before = sorted(path.name for path in (box.prefix / "images").iterdir())
    soon = {"LAGO_SSH_TIMEOUT": "1"}
    (tmp_path / "killed").mkdir()
    with box.popen("collect", "--output", str(tmp_path / "killed" / "out"), env=soon) as process:
        assert wait_for(lambda: list((box.prefix / "images").glob("vm1_root.copy.*")))
        process.kill()
    assert not (tmp_path / "killed" / "out").exists()
    with box.popen("collect", "--output", str(tmp_path / "out"), env=soon) as process:
        _, complaints = process.communicate(timeout=500)
    assert process.returncode == 0, complaints
    assert "vm1 does not answer ssh" in complaints
    for vm in ("vm0", "vm1"):
        _check_collected(tmp_path / "out", vm)
    assert sorted(path.name for path in (box.prefix / "images").iterdir()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "out"]
    assert box.states() == {"vm0": "down", "vm1": "running"}
    box.lago("stop")


@pytest.fixture(scope="module")
def down(box: Box) -> Box:
    """The machines, down; on the disk of one there is a file, below a snapshot, and another one above it."""
    box.up(INIT_FILE)
    box.shell("vm0", "echo below >/root/below; sync")
    box.lago("snapshot", "s")
    box.shell("vm0", "dd if=/dev/urandom of=/root/above bs=1M count=3; sha256sum /root/above >/root/sum; sync")
    box.lago("stop")
    return box


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Box]:
    """Where an export is unpacked."""
    other = Box(tmp_path)
    yield other
    other.close()


def _goes_on(elsewhere: Box) -> None:
    elsewhere.lago("init")
    elsewhere.lago("start", "vm0")
    assert elsewhere.shell("vm0", "cd /root; cat below; sha256sum -c sum") == "below\n/root/above: OK\n"
    assert elsewhere.shell("vm0", "hostname") == "vm0\n"
    assert elsewhere.status()["VMs"]["vm1"]["NICs"]["eth0"]["ip"] == "192.168.200.3"


def test_a_layered_packed_export_goes_on_elsewhere_over_the_same_template(
    down: Box, elsewhere: Box, store: Path, tmp_path: Path
) -> None:
    done = json.loads(down.lago("-f", "json", "export", "--compress", "--dst-dir", str(tmp_path)).out)
    assert done["vm0"] == [str(tmp_path / "vm0_root.qcow2"), str(tmp_path / "vm0_disk1.qcow2")]
    assert done["init-file"] == str(tmp_path / "LagoInitFile")
    assert (tmp_path / "vm0_root.qcow2").stat().st_size < 8 << 20
    other = tmp_path / "store"
    other.mkdir()
    for path in store.glob("lago:mini:*"):
        os.link(path, other / path.name)
    elsewhere.env["LAGO_TEMPLATE_STORE"] = str(other)
    _goes_on(elsewhere)


def test_a_standalone_export_goes_on_where_there_is_no_template(down: Box, elsewhere: Box, tmp_path: Path) -> None:
    elsewhere.env["LAGO_TEMPLATE_STORE"] = str(tmp_path / "none")
    down.lago("export", "-s", "-d", str(tmp_path))
    _goes_on(elsewhere)
    assert not (tmp_path / "none").exists()


def test_an_export_that_is_killed_looks_like_none_and_the_next_one_clears_up(down: Box, tmp_path: Path) -> None:
    place = tmp_path / "export"
    with down.popen("export", "-s", "-c", "-d", str(place)) as process:
        assert wait_for(lambda: list(place.glob(".lago-export-*/.*.qcow2.*")))
        process.kill()
    assert [path.name for path in place.iterdir() if not path.name.startswith(".lago-export-")] == []
    down.lago("export", "-d", str(place), "-n", "vm1")
    assert sorted(path.name for path in place.iterdir()) == [
        "LagoInitFile",
        "vm1_root.qcow2",
        "vm1_root.qcow2.hash",
        "vm1_root.qcow2.metadata",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a small file system")
def test_a_full_disk_is_told_and_leaves_nothing(down: Box, tmp_path: Path) -> None:
    small = 'p=$1; shift; mount -t tmpfs -o size=20M tmpfs "$p"; "$@"; code=$?; ls -A "$p"; exit $code'
    down.wrap = ("unshare", "--mount", "sh", "-c", small, "sh", str(tmp_path))
    try:
        done = down.lago("export", "-s", "-d", str(tmp_path / "export"), code=2)
    finally:
        down.wrap = ()
    assert "no space left on the device" in done.err
    assert done.out == ""


def test_a_machine_that_is_not_there_or_runs_is_not_exported(down: Box, tmp_path: Path) -> None:
    assert "did you mean vm1?" in down.lago("export", "-n", "vm9", "-d", str(tmp_path / "x"), code=2).err
    only = down.lago("export", "--collect-only", "-d", str(tmp_path / "x")).out
    assert only.startswith(f"vm0: \n    {down.prefix}/images/vm0_root.")
    down.lago("start", "vm1")
    assert "vm1 can't be exported, it is running" in down.lago("export", "-d", str(tmp_path / "x"), code=2).err
    assert not (tmp_path / "x").exists()
