"""People who don't see well, or use no mouse, get at all of a report: axe-core finds nothing serious."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from .conftest import DATA, Open

SERIOUS = ("serious", "critical")


@pytest.mark.parametrize("width", [1400, 500])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_there_is_no_serious_fault(show: Open, width: int, dark: bool) -> None:
    page = show(DATA / "shop", width=width, dark=dark)
    page.page.fill("input[type=search]", "order")
    _without_faults(page.page)
    page.page.keyboard.press("Escape")
    page.page.locator("h1").click()
    page.page.keyboard.press("?")
    _without_faults(page.page)


def _without_faults(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    told = [f"{one['id']}: {node['html']}: {node['failureSummary']}" for one in found for node in one["nodes"]]
    assert [one["id"] for one in found if one["impact"] in SERIOUS] == [], "\n".join(told)
