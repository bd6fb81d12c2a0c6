"""A stop pulls the plug: what a guest needs to be reached again must be on its disk by then."""

from __future__ import annotations

import pytest

from .box import ONE, Box, kill


@pytest.mark.parametrize("times", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_a_machine_whose_plug_is_pulled_right_after_it_is_up_can_be_reached_again(box: Box, times: int) -> None:
    box.write(ONE)
    box.lago("init")
    # Linux writes within 30 s what is not synced; some of these stops come in between.
    for _ in range(times):
        box.lago("start")
        assert box.shell("vm0", "grep -c lago /root/.ssh/authorized_keys") == "1\n"
        box.lago("stop")


@pytest.mark.slow
def test_what_a_killed_qemu_wrote_to_can_be_frozen_below_a_machine_that_is_saved(box: Box) -> None:
    box.up_warm(ONE)
    box.shell("vm0", "echo kept >/root/note; sync")
    kill(box.qemu())
    box.lago("stop")
    box.lago("snapshot", "down")
    box.lago("start")
    box.lago("snapshot", "up")
    assert box.states() == {"vm0": "running"}
    box.lago("revert", "up")
    assert box.shell("vm0", "cat /root/note") == "kept\n"
