"""Deploy scripts on real guests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .box import Box

INIT_FILE = """
x-small: &small {memory: 128, vcpu: 1, disks: [{template_name: mini}], nics: [{net: lan}]}
domains:
  vm0: {<<: *small, metadata: {deploy-scripts: [one.sh, $SCRIPTS/two.sh]}}
  vm1: {<<: *small, metadata: {deploy-scripts: [one.sh]}}
  vm2: *small
nets: {lan: {}}
"""


@pytest.fixture(scope="module")
def box(module_box: Box) -> Box:
    """An environment whose scripts are no longer where they were."""
    scripts = module_box.place / "scripts"
    scripts.mkdir()
    module_box.write("echo one >>/root/log; echo said by $(hostname)\n", "one.sh")
    module_box.write(
        "[[ -e /root/broken ]] && { echo it is broken >&2; exit 3; }\necho two >>/root/log\n", "scripts/two.sh"
    )
    module_box.write(INIT_FILE)
    module_box.lago("init", env={"SCRIPTS": str(scripts)})
    shutil.rmtree(scripts)
    (module_box.place / "one.sh").unlink()
    return module_box


def test_scripts_need_machines_that_run(box: Box) -> None:
    done = box.lago("deploy", code=2)
    assert "vm0 is not running, it is down" in done.err


def test_scripts_run_in_order_and_again_as_often_as_is_wished(box: Box) -> None:
    box.lago("start")
    done = box.lago("deploy")
    assert "# vm0: two.sh" in done.err
    assert " vm2" not in done.err
    assert "said by vm0" in box.lago("-l", "debug", "deploy").err
    assert box.shell("vm0", "cat /root/log").split() == ["one", "two", "one", "two"]
    assert box.shell("vm1", "cat /root/log").split() == ["one", "one"]
    assert "said by vm1" in (box.prefix / "logs" / "lago.log").read_text()


def test_a_prefix_brings_its_scripts_where_it_is_moved(box: Box) -> None:
    assert sorted(path.name.rpartition("_")[2] for path in (box.prefix / "scripts").iterdir()) == ["one.sh", "two.sh"]
    assert str(box.prefix) not in (box.prefix / "virt" / "vm-vm0").read_text()


def test_a_script_that_fails_is_told_with_its_words_and_the_others_run(box: Box) -> None:
    box.shell("vm0", "touch /root/broken; rm /root/log")
    box.shell("vm1", "rm /root/log")
    done = box.lago("deploy", code=2)
    assert "lago: vm0: the deploy script " in done.err
    assert "two.sh ended with status 3\n    it is broken\n" in done.err
    assert box.shell("vm1", "cat /root/log") == "one\n"


def test_a_script_that_is_not_there_fails_init_which_leaves_nothing(tmp_path: Path, mini: Path) -> None:
    other = Box(tmp_path)
    other.write(INIT_FILE)
    done = other.lago("init", code=2, env={"SCRIPTS": "/nowhere"})
    lines = [line for line in done.err.splitlines() if "is not there, correct the path" in line]
    assert [line.split(": the deploy script ")[1].partition(" is not")[0] for line in lines] == [
        f"{tmp_path}/one.sh of vm0",
        "/nowhere/two.sh of vm0",
        f"{tmp_path}/one.sh of vm1",
    ]
    assert lines[0].startswith("    LagoInitFile:4:49: domains.vm0.metadata.deploy-scripts[0]: ")
    assert not (tmp_path / ".lago").exists()
