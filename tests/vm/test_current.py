"""Which environment commands are for, when one of several is gone."""

from __future__ import annotations

import os

import pytest

from .box import ONE, Box
from .terminal import Terminal


def listed(box: Box) -> list[str]:
    return box.lago("list").out.split()


def test_no_command_means_another_environment_than_the_one_that_is_gone(box: Box) -> None:
    box.up_warm(ONE)
    box.lago("fork", "q")
    box.lago("destroy", "--yes")
    for command in (["destroy", "--yes"], ["stop"], ["shell", "vm0", "true"], ["snapshot", "x"]):
        refused = box.lago(*command, code=2)
        assert "the current environment, default, is gone\n    there are: q\n" in refused.err
        assert "lago set-current NAME" in refused.err
    assert "@ default is the current environment now, and not q\n" in box.lago("up", "--warm").err
    assert box.shell("vm0", "hostname") == "vm0\n"
    box.lago("destroy", "--yes")
    assert listed(box) == ["q"]
    assert box.lago("-P", "q", "shell", "vm0", "hostname").out == "vm0\n"
    box.lago("cleanup", code=2)
    box.lago("set-current", "q")
    # It is there, so it is the one that is started, and no other one is made.
    box.lago("stop")
    box.lago("up")
    assert listed(box) == ["q"]
    assert box.states() == {"vm0": "running"}
    with Terminal(box, "destroy") as terminal:
        terminal.expect("Destroy q? [y/N]")
        terminal.type("\n")
        terminal.expect("nothing was destroyed")
        assert terminal.wait() == 1
    with Terminal(box, "destroy") as terminal:
        terminal.expect("Destroy q? [y/N]")
        # Ctrl-D ends the input.
        terminal.type("\x04")
        terminal.expect("nothing was destroyed")
        assert terminal.wait() == 1
    assert box.states() == {"vm0": "running"}
    with Terminal(box, "destroy") as terminal:
        terminal.expect("Destroy q? [y/N]")
        terminal.type("y\n")
        assert terminal.wait() == 0
    assert not os.path.lexists(box.place / ".lago")


def test_words_for_snapshots_make_none(box: Box) -> None:
    box.write(ONE)
    box.lago("up")
    box.lago("snapshot", "clean")
    box.shell("vm0", "touch /root/mark; sync")
    assert "clean" in box.lago("snapshot", "list").out
    assert box.lago("snapshot", "tree").out.split()[0] == "[clean]:"
    box.lago("snapshot", "list", "--description", "mine", code=2)
    box.lago("revert", "clean")
    assert box.shell("vm0", "ls /root") == ""
    box.lago("snapshot", "delete", "clean")
    assert box.lago("snapshot", "list").out == ""


@pytest.mark.slow
def test_a_machine_has_more_disks_than_there_are_letters(box: Box) -> None:
    disks = ", ".join(["{template_name: mini}", *["{size: 1M}"] * 25])
    box.write(
        f"domains: {{vm0: {{memory: 256, vcpu: 1, bootstrap: cloud-init, disks: [{disks}], nics: [{{net: lan}}]}}}}\n"
        "nets: {lan: {}}\n"
    )
    box.lago("up")
    assert box.shell("vm0", "cat /sys/block/vdz/size /sys/block/vdaa/ro") == "2048\n1\n"
