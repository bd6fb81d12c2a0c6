"""What guests and other strangers write into a journal is shown, and does nothing."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from playwright.sync_api import expect

from . import journals
from .conftest import Open, Watched


@pytest.fixture
def hostile(show: Open, tmp_path: Path) -> Watched:
    """A report of what strangers meant to do harm with."""
    directory = journals.write(tmp_path / "hostile", journals.hostile())
    (directory / "screens").mkdir()
    (directory / "screens" / "page.png").write_text(f"<svg xmlns='http://www.w3.org/2000/svg'>{journals.MARKUP}</svg>")
    return show(directory)


def harmless(page: Watched) -> None:
    """Nothing ran, nothing was asked for, and nothing of it became an element; `show` looks for dialogs and errors."""
    assert page.page.evaluate("typeof attack") == "undefined"
    assert page.page.locator("script").count() == 2
    assert page.page.locator("style").count() == 1
    assert page.page.locator("img, iframe, object, embed, base, link, #lago svg [onload], [onerror]").count() == 0
    assert len(page.requests) == 1


def test_each_event_is_shown_and_does_nothing(hostile: Watched) -> None:
    harmless(hostile)
    hostile.page.locator(".lv-events-rows").focus()
    hostile.page.keyboard.press("Home")
    seen = set()
    for _ in range(hostile.listed()):
        expect(hostile.page.locator(".lv-chosen.lv-event")).to_have_count(1)
        seen.add(hostile.text(".lv-title .lv-kind"))
        hostile.page.keyboard.press("ArrowDown")
    assert seen >= {"lago", "test", "command", "copy", "deploy script", "snapshot", "fork", "fault", "console", "note"}
    harmless(hostile)


def test_what_has_no_glyph_is_a_mark(hostile: Watched) -> None:
    hostile.page.fill("input[type=search]", "title")
    hostile.page.get_by_label("Outcome").select_option("failed")
    text = hostile.text(".lv-details .lv-text")
    for mark in ("\u2400", "\u2407", "\u241b]0;", "\u241b[2J", "\u2421", "\u2039U+009B\u203a", "\u2039U+2028\u203a"):
        assert mark in text
    for mark in ("\u2039U+202E\u203agnp.exe", "\u2039U+2066\u203a", "\u2039U+200B\u203a", "\u2039U+FEFF\u203a"):
        assert mark in text
    everything = hostile.page.locator("body").inner_text()
    assert not set(everything) & set("\x00\x07\x1b\x7f\x9b\u2028\u2029\u202e\u2066\u200b\ufeff")
    assert "<script>attack()</script>" in everything


def test_colours_of_a_console_are_colours_and_hide_nothing(hostile: Watched) -> None:
    line = hostile.page.locator(".lv-pane .lv-line").filter(has_text="\u2400\u2407").last
    assert line.locator(".lv-c1").first.inner_text() == "red"
    assert "hidden\u2421" in line.inner_text()


def test_the_policy_of_the_page_forbids_what_no_script_of_it_does(hostile: Watched) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        refused = hostile.page.evaluate(
            """async (address) => {
                const refused = [];
                document.addEventListener("securitypolicyviolation", (event) => refused.push(event.effectiveDirective));
                try { document.body.innerHTML += "<b>no</b>"; } catch (error) { refused.push(error.name); }
                const image = new Image();
                image.src = address;
                await new Promise((done) => { image.onerror = done; });
                await fetch(address).catch(() => refused.push("fetch"));
                while (!refused.includes("connect-src")) await new Promise(requestAnimationFrame);
                return refused;
            }""",
            f"http://127.0.0.1:{server.getsockname()[1]}/",
        )
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert {"TypeError", "img-src", "connect-src", "fetch"} <= set(refused)
    # Chromium tells of what it refused, which is no mistake of the page.
    hostile.errors.clear()
    hostile.requests.clear()


def test_only_pictures_of_the_environment_that_are_some_are_in_a_report(hostile: Watched) -> None:
    reasons = {one.rpartition("/")[2] for one in hostile.texts(".lv-screen p")}
    assert reasons == {"page.png: this is no PNG", "passwd: this is not in the environment's directory"}
    assert "root:" not in hostile.page.content()
