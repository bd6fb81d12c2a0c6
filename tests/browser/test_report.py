"""What somebody finds out with a report, by mouse and by keyboard."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect

from . import journals
from .conftest import DATA, Open, Watched

_SIGHT = "parseFloat(document.querySelector('.lv-range').textContent.split(', ')[1])"
FAILING = "curl --max-time 5 -X POST -d item=17 http://localhost/orders"


def test_it_begins_with_what_failed(shop: Watched) -> None:
    assert shop.text(".lv-details .lv-text") == FAILING
    assert shop.text(".lv-details .lv-badge") == "exit 28"
    assert shop.texts(".lv-sums .lv-o-failed") == ["1 test failed", "1 command failed"]
    assert shop.text("h1") == "shop \u00b7 web-and-db"
    assert shop.page.title() == "shop \u00b7 web-and-db \u00b7 Lago report"


def test_it_begins_with_the_last_test_that_failed_at_that_instant(show: Open, tmp_path: Path) -> None:
    entries = journals.head("tests", ["vm"])
    entries[0]["path"] = "/home/ann/shop/.lago-pytest/main-1/2-module/default"
    entries[0]["name"] = "default"
    for number, result in enumerate(["failed", "failed", "passed"]):
        outcome = "ok" if result == "passed" else result
        begin = journals.START + 10 * number
        entries.append({"t": begin, "kind": "test", "id": f"{number}", "nodeid": f"test_{number}"})
        entries.append({"t": begin + 5, "kind": "end", "id": f"{number}", "outcome": outcome, "result": result})
    page = show(journals.write(tmp_path / "tests", entries))
    assert page.text(".lv-details .lv-text") == "test_1"
    assert page.text(".lv-topology .lv-sec-head .lv-dim") == "at 0:15.000"
    assert page.text("h1") == "shop \u00b7 2-module"


def test_a_failing_command_is_found_by_search_and_read(shop: Watched) -> None:
    shop.page.fill("input[type=search]", "Operation timed OUT")
    expect(shop.page.locator(".lv-found")).to_have_text("2 of 2")
    shop.page.get_by_role("button", name="Next hit").click()
    expect(shop.page.locator(".lv-found")).to_have_text("1 of 2")
    shop.page.get_by_role("button", name="Next hit").click()
    expect(shop.page.locator(".lv-details .lv-text")).to_have_text(FAILING)
    facts = shop.text(".lv-facts")
    assert "took\n6.40 s" in facts
    assert "exit code\n28" in facts
    assert "2026-12-01" in facts
    assert shop.texts(".lv-out pre")[1] == "last line of it\n"
    assert shop.text(".lv-gap") == "88 KiB are left out here"
    assert "curl: (28) Operation timed out after 5001 milliseconds" in shop.text(".lv-err pre")
    assert shop.texts(".lv-err mark") == ["Operation timed out"]
    shop.page.get_by_role("button", name="Previous hit").click()
    expect(shop.page.locator(".lv-details .lv-kind").first).to_have_text("test")


def test_a_search_that_finds_nothing_says_so_and_goes_away(shop: Watched) -> None:
    everything = shop.listed()
    shop.page.fill("input[type=search]", ".*[(")
    expect(shop.page.locator(".lv-found")).to_have_text("0 hits")
    assert shop.listed() == 0
    shop.page.press("input[type=search]", "Escape")
    expect(shop.page.locator(".lv-events .lv-dim").first).to_have_text(f"{everything} events")


def test_kinds_machines_and_outcomes_are_chosen(shop: Watched) -> None:
    everything = shop.listed()
    shop.page.get_by_role("button", name="Console 230").click()
    assert shop.listed() == everything - 230
    shop.page.get_by_role("button", name="cache", exact=True).click()
    assert shop.listed() < everything - 230
    assert "cache" not in shop.texts(".lv-event .lv-who")
    assert not shop.page.get_by_role("heading", name="cache").is_visible()
    shop.page.get_by_role("button", name="Commands 9").click(modifiers=["Shift"])
    shop.page.get_by_label("Outcome").select_option("failed")
    assert shop.listed() == 1
    assert shop.text(".lv-event .lv-end") == "exit 28"


def test_it_is_zoomed_by_wheel_buttons_keys_and_marks(shop: Watched) -> None:
    whole = shop.sight()
    left, top, right, _ = shop.plot()
    shop.page.mouse.move((left + right) / 2, top + 60)
    shop.page.mouse.wheel(0, -300)
    shop.wait(f"whole => {_SIGHT} < whole * 0.7", whole)
    shop.page.get_by_role("button", name="All").click()
    shop.wait(f"whole => {_SIGHT} > whole * 0.98", whole)
    for by_key in (False, True):
        before = shop.sight()
        if by_key:
            shop.page.keyboard.press("+")
        else:
            shop.page.get_by_role("button", name="Zoom in").click()
        shop.wait(f"was => {_SIGHT} < was * 0.6", before)
    shop.page.keyboard.press("0")
    shop.wait(f"whole => {_SIGHT} > whole * 0.98", whole)
    shop.page.mouse.move(left + 400, top + 10)
    shop.page.mouse.down()
    shop.page.mouse.move(left + 500, top + 12, steps=4)
    shop.page.mouse.up()
    shop.wait(f"whole => {_SIGHT} < whole * 0.2", whole)


def test_dragging_moves_and_a_click_chooses_what_is_there(shop: Watched) -> None:
    shop.page.keyboard.press("+")
    shop.page.keyboard.press("+")
    left, top, right, bottom = shop.plot()
    before = shop.text(".lv-range")
    shop.page.mouse.move((left + right) / 2, bottom - 8)
    shop.page.mouse.down()
    shop.page.mouse.move((left + right) / 2 + 120, bottom - 8, steps=4)
    shop.page.mouse.up()
    shop.wait("before => document.querySelector('.lv-range').textContent !== before", before)
    shop.page.keyboard.press("0")
    shop.wait(f"() => {_SIGHT} > 30")
    # The first test's band, a fifth of the way into it.
    shop.page.mouse.click(left + 132 + (right - left - 132) * 0.37, top + 26 + 12)
    expect(shop.page.locator(".lv-details .lv-text")).to_have_text("tests/test_shop.py::test_front_page")


def test_what_was_broken_and_how_machines_were_is_drawn_for_the_chosen_instant(shop: Watched) -> None:
    assert shop.texts(".lv-broken li") == ["slow db --delay 2s", "cut backend"]
    assert shop.page.locator(".lv-machine.lv-isbroken .lv-machine-name").all_text_contents() == ["db"]
    assert shop.page.locator(".lv-net.lv-isbroken").count() == 1
    shop.page.fill("input[type=search]", "saved")
    shop.page.press("input[type=search]", "Enter")
    expect(shop.page.locator(".lv-broken")).to_be_hidden()
    assert shop.page.locator(".lv-s-paused .lv-machine-name").all_text_contents() == ["cache"]
    drawn = shop.page.locator(".lv-topology svg").get_attribute("aria-label") or ""
    assert "web is running, db is running, cache is paused" in drawn
    assert shop.page.locator(".lv-address").all_text_contents() == ["192.168.200.2", "10.0.7.2", "10.0.7.3", "10.0.7.4"]


def test_consoles_stand_at_the_chosen_instant(shop: Watched) -> None:
    pane = shop.page.locator(".lv-pane").first
    expect(pane.locator(".lv-border")).to_contain_text("upstream timed out")
    assert pane.locator(".lv-border").is_visible()
    assert pane.locator(".lv-line:not(.lv-later)").last.inner_text().startswith("0:07.690")
    shop.page.fill("input[type=search]", "retry 13")
    shop.page.press("input[type=search]", "Enter")
    expect(pane.locator(".lv-chosen mark")).to_have_text("retry 13")
    assert pane.locator(".lv-chosen").is_visible()


def test_screens_are_shown_as_they_were(shop: Watched) -> None:
    assert shop.text(".lv-screen pre") == "Debian GNU/Linux 12 web tty1\n\nweb login: _\n"
    assert shop.page.locator(".lv-screen img").evaluate("one => [one.naturalWidth, one.naturalHeight]") == [320, 200]


def test_times_are_those_since_the_start_or_of_the_day(shop: Watched) -> None:
    assert shop.text(".lv-chosen .lv-when") == "0:16.600"
    shop.page.get_by_role("button", name="Time of day").click()
    expect(shop.page.locator(".lv-event.lv-chosen .lv-when")).to_have_text("01:53:36.850")


def test_all_of_it_is_done_by_keyboard(shop: Watched) -> None:
    keyboard = shop.page.keyboard
    keyboard.press("/")
    keyboard.type("pg_isready")
    keyboard.press("Enter")
    expect(shop.page.locator(".lv-details .lv-text")).to_have_text("pg_isready --timeout=3")
    keyboard.press("Escape")
    shop.page.locator(".lv-events-rows").focus()
    keyboard.press("Home")
    expect(shop.page.locator(".lv-details .lv-text")).to_have_text("up")
    keyboard.press("ArrowDown")
    expect(shop.page.locator(".lv-details .lv-text")).to_have_text("shut off")
    keyboard.press("Enter")
    assert shop.page.evaluate("document.activeElement.className") == "lv-details-body"
    keyboard.press("f")
    expect(shop.page.locator(".lv-details .lv-text")).to_contain_text("test_order_survives_slow_db")
    keyboard.press("f")
    expect(shop.page.locator(".lv-details .lv-text")).to_have_text(FAILING)
    shop.page.locator(".lv-lanes").focus()
    keyboard.press("ArrowDown")
    expect(shop.page.locator(".lv-title b")).to_have_text("db")
    keyboard.press("ArrowRight")
    expect(shop.page.locator(".lv-title b")).to_have_text("db")
    before = shop.sight()
    keyboard.press("+")
    shop.wait(f"was => {_SIGHT} < was * 0.6", before)
    keyboard.press("?")
    expect(shop.page.get_by_role("dialog")).to_be_visible()
    keyboard.press("Escape")
    expect(shop.page.get_by_role("dialog")).to_be_hidden()


def test_everything_that_can_be_clicked_is_reached_by_tab(shop: Watched) -> None:
    seen = "[...document.querySelectorAll('button, select, input, [tabindex]')].filter(one => one.checkVisibility())"
    wanted = shop.page.evaluate(f"{seen}.length")
    met = set()
    for _ in range(wanted + 5):
        shop.page.keyboard.press("Tab")
        met.add(shop.page.evaluate(f"{seen}.indexOf(document.activeElement)"))
    assert met >= set(range(wanted))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_colours_are_those_of_the_system_until_others_are_chosen(show: Open, dark: bool) -> None:
    page = show(DATA / "shop", dark=dark)
    background = "getComputedStyle(document.querySelector('.lv')).backgroundColor"
    at_first = page.page.evaluate(background)
    page.page.get_by_label("Colours").select_option("light" if dark else "dark")
    assert page.page.evaluate(background) != at_first
    page.page.get_by_label("Colours").select_option("")
    assert page.page.evaluate(background) == at_first


def test_it_fits_a_narrow_window(show: Open) -> None:
    page = show(DATA / "shop", width=500)
    assert page.page.evaluate("document.scrollingElement.scrollWidth") == 500
    assert page.text(".lv-details .lv-text") == FAILING


def test_it_is_printed_without_what_only_a_screen_can_do(shop: Watched) -> None:
    shop.page.emulate_media(media="print")
    for selector in (".lv-bar", ".lv-tools", ".lv-events"):
        expect(shop.page.locator(selector)).to_be_hidden()
    expect(shop.page.locator(".lv-details .lv-text")).to_be_visible()
    assert shop.page.pdf(format="A4").startswith(b"%PDF-")


def test_what_begins_with_something_short_in_the_same_pixel_is_drawn(show: Open, tmp_path: Path) -> None:
    entries = journals.head("pixels", ["vm"])
    entries += [
        {"t": journals.START + t, "kind": "state", "vm": "vm", "state": state}
        for t, state in ((1, "paused"), (1.0001, "running"), (90, "shut off"), (100, "running"))
    ]
    for number, (begin, end) in enumerate([(1, 1.0001), (1.0002, 90)]):
        entries.append({"t": journals.START + begin, "kind": "command", "id": f"{number}", "vm": "vm", "text": "x"})
        entries.append({"t": journals.START + end, "kind": "end", "id": f"{number}", "outcome": "ok", "code": 0})
    entries.sort(key=lambda one: float(one["t"]))
    page = show(journals.write(tmp_path / "pixels", entries))
    middle = 132 + (page.plot()[2] - page.plot()[0] - 132) / 2
    column = page.page.evaluate(
        "x => [...document.querySelector('.lv-lanes').getContext('2d').getImageData(x, 26, 1, 30).data]", middle
    )
    assert column[7 * 4 :][:4] == [27, 127, 69, 255]
    assert column[20 * 4 :][:4] == [36, 104, 201, 255]


def test_paper_is_light(show: Open) -> None:
    page = show(DATA / "shop", dark=True)
    axis = "[...document.querySelector('.lv-lanes').getContext('2d').getImageData(3, 3, 1, 1).data].join()"
    page.wait(f"() => {axis} === '19,28,39,255'")
    page.page.emulate_media(media="print")
    page.wait(f"() => {axis} === '255,255,255,255'")
    page.page.emulate_media(media="screen")
    page.wait(f"() => {axis} === '19,28,39,255'")
    # Chromium would have a canvas that is read often be another one.
    page.errors.clear()


def test_a_span_without_an_end_says_that_nobody_saw_it(shop: Watched) -> None:
    shop.page.fill("input[type=search]", "sleep infinity")
    shop.page.press("input[type=search]", "Enter")
    expect(shop.page.locator(".lv-badge")).to_have_text("no end")
    assert "it was killed, or was still going on" in shop.text(".lv-facts")


def test_what_was_part_of_a_test_leads_there_and_back(shop: Watched) -> None:
    shop.page.get_by_role("button", name="test tests/test_shop.py::test_order").click()
    expect(shop.page.locator(".lv-details .lv-badge")).to_have_text("failed")
    assert "AssertionError: order 17 was lost" in shop.text(".lv-facts")
    shop.page.locator(".lv-family").get_by_role("button", name="command curl").click()
    expect(shop.page.locator(".lv-details .lv-text")).to_have_text(FAILING)


def test_a_picture_that_is_not_there_is_named(show: Open, tmp_path: Path) -> None:
    shutil.copytree(DATA / "shop", tmp_path / "moved")
    (tmp_path / "moved" / "screens" / "db.png").unlink()
    page = show(tmp_path / "moved")
    assert page.texts(".lv-screen p") == ["screens/db.png: No such file or directory"]
