"""The same viewer shows what is still going on."""

from __future__ import annotations

import json

from playwright.sync_api import Browser, expect

from lago.report.page import script, style

from .conftest import DATA, Watched


def test_what_comes_is_followed_until_somebody_looks_at_something(browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = Watched(context.new_page())
    page.page.set_content("<!doctype html><html lang='en'><title>live</title><div id=lago></div></html>")
    page.page.add_style_tag(content=style())
    page.page.add_script_tag(content=script())
    entries = [json.loads(line) for line in (DATA / "shop" / "journal.jsonl").read_text().splitlines()]
    page.page.evaluate("globalThis.viewer = new LagoViewer(document.getElementById('lago'), {live: true})")
    page.page.evaluate("some => viewer.append(some)", entries[:2])
    expect(page.page.locator(".lv-machine")).to_have_count(3)
    cut = next(at for at, one in enumerate(entries) if "curl --max-time" in one.get("text", "")) + 1
    page.page.evaluate("some => viewer.append(some)", entries[2:cut])
    expect(page.page.locator(".lv-broken li")).to_have_count(2)
    page.page.locator(".lv-event").filter(has_text="curl --max-time").click()
    expect(page.page.locator(".lv-badge")).to_have_text("no end")
    expect(page.page.locator(".lv-now")).to_be_visible()
    page.page.evaluate("some => viewer.append(some)", entries[cut:])
    expect(page.page.locator(".lv-badge")).to_have_text("exit 28")
    expect(page.page.locator(".lv-sums .lv-o-failed").first).to_have_text("1 test failed")
    assert page.page.locator(".lv-broken li").count() == 2
    page.page.get_by_role("button", name="Follow").click()
    expect(page.page.locator(".lv-broken")).to_be_hidden()
    context.close()
    assert page.errors == []
