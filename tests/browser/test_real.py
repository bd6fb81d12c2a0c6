"""A report of machines that ran."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from lago import sdk

from ..vm.box import TWO, Box
from .conftest import Open

pytestmark = pytest.mark.vm


def test_a_failure_of_two_machines_is_found_in_their_report(box: Box, show: Open) -> None:
    box.write(TWO)
    box.lago("init")
    box.lago("start")
    env = sdk.load_env(str(box.place / ".lago"))
    vms = env.get_vms()
    with env.slow("vm1", delay=0.2):
        assert vms["vm0"].ssh(["ping", "-4", "-c", "1", "vm1"]).code == 0
    assert vms["vm1"].ssh(["sh", "-c", "echo first; echo '<b>bold</b>' >/dev/console; echo why >&2; exit 7"]).code == 7
    box.lago("stop")
    page = show(box.place / ".lago" / "default")
    assert "1 command failed" in page.texts(".lv-sums li")
    page.page.fill("input[type=search]", "exit 7")
    page.page.press("input[type=search]", "Enter")
    expect(page.page.locator(".lv-title b")).to_have_text("vm1")
    expect(page.page.locator(".lv-badge")).to_have_text("exit 7")
    assert page.text(".lv-out pre") == "first\n"
    assert page.text(".lv-err pre") == "why\n"
    page.page.fill("input[type=search]", "slow vm1")
    page.page.locator(".lv-event.lv-k-fault").click()
    assert page.page.locator(".lv-machine.lv-isbroken .lv-machine-name").all_text_contents() == ["vm1"]
    page.page.fill("input[type=search]", "bold")
    page.page.locator(".lv-event.lv-k-console").click()
    expect(page.page.locator(".lv-pane .lv-chosen .lv-said")).to_have_text("<b>bold</b>")
