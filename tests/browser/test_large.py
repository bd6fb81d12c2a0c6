"""A hundred thousand events are looked at like a few."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from . import journals
from .conftest import Open


def test_twenty_machines_and_a_hundred_thousand_events(show: Open, tmp_path: Path) -> None:
    directory = journals.write(tmp_path / "large", journals.large(100_000, 20))
    page = show(directory)
    assert page.text("h1") == "large"
    assert "20 machines" in page.texts(".lv-sums li")
    assert page.page.evaluate("document.querySelectorAll('*').length") < 3000
    page.page.fill("input[type=search]", "unit42 ")
    expect(page.page.locator(".lv-found")).to_contain_text(" hits")
    page.page.press("input[type=search]", "Enter")
    expect(page.page.locator(".lv-details mark").first).to_have_text("unit42 ")
    before = page.sight()
    page.page.get_by_role("button", name="Zoom in").click()
    page.wait("was => document.querySelector('.lv-range').textContent.includes(', ') && was", before)
    assert page.page.evaluate("document.querySelectorAll('*').length") < 3000
