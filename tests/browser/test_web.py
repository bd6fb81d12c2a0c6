"""The page of an environment that runs, with real machines, in a real browser."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from ..vm.box import TWO, Box, processes
from ..vm.conftest import mini, module_box  # noqa: F401 - fixtures
from .conftest import PATIENCE, Watched

pytestmark = pytest.mark.vm
SERIOUS = ("serious", "critical")


@contextmanager
def serving(box: Box, *words: str, signal_: signal.Signals = signal.SIGINT) -> Iterator[str]:
    """Context manager: `lago web` runs; the address that it printed. It ends when it is told to."""
    with box.popen("-f", "json", "web", *words) as process:
        try:
            assert process.stdout
            text = ""
            while not text.endswith("}\n"):
                line = process.stdout.readline()
                assert line, process.stderr and process.stderr.read()
                text += line
            yield json.loads(text)["address"]
            process.send_signal(signal_)
            code = process.wait(60)
            assert code == (0 if signal_ == signal.SIGINT else 128 + signal_)
        finally:
            process.kill()


@pytest.fixture
def box(module_box: Box) -> Box:  # noqa: F811
    """Two machines that run, of a user who has no other environments."""
    module_box.env["XDG_STATE_HOME"] = str(module_box.place / "state")
    module_box.up_warm(TWO)
    return module_box


@contextmanager
def opened(
    browser: Browser, address: str, width: int = 1400, *, dark: bool = False, refused: int = 0
) -> Iterator[Page]:
    """Context manager: the page, which does nothing that it was not asked to; of what it asks so much is refused."""
    scheme = "dark" if dark else "light"
    context = browser.new_context(viewport={"width": width, "height": 1000}, color_scheme=scheme)  # type: ignore[arg-type]
    watched = Watched(context.new_page())
    watched.page.goto(address)
    expect(watched.page.get_by_role("article", name="vm0")).to_contain_text("running")
    yield watched.page
    context.close()
    told = [line for line in watched.errors if "status of 400" not in line]
    assert (told, len(watched.errors), watched.dialogs) == ([], refused, [])
    origin = address.partition("/?")[0]
    assert [
        one for one in watched.requests if not one.startswith((origin, "data:", origin.replace("http", "ws")))
    ] == []


def types(page: Page, text: str, answer: str, window: str) -> None:
    """Type into the terminal that has the keyboard, and see the answer."""
    page.keyboard.type(text)
    expect(page.get_by_label(window, exact=True).locator(".xterm-accessibility")).to_contain_text(answer)


def test_the_page_tells_what_there_is_and_hides_its_token(box: Box, browser: Browser) -> None:
    with serving(box) as address, opened(browser, address) as page:
        assert "token" not in page.url
        assert page.evaluate("document.cookie") == ""
        for name in ("vm0", "vm1"):
            card = page.get_by_role("article", name=name)
            expect(card).to_contain_text(re.compile(r"lan\s*192\.168\.200\."))
        expect(page.get_by_role("list", name="Networks")).to_contain_text("lan up")
        expect(page.locator(".lv-machine")).to_have_count(2)


def test_terminals_are_typed_into_and_end_with_the_page(box: Box, browser: Browser) -> None:
    with serving(box) as address:
        with opened(browser, address) as page:
            page.get_by_role("button", name="Shell of vm0").click()
            expect(page.get_by_label("shell of vm0", exact=True).locator(".xterm-accessibility")).to_contain_text("#")
            types(page, "echo $((6 * 7)) $(hostname)\n", "42 vm0", "shell of vm0")
            page.get_by_role("button", name="Console of vm1").click()
            expect(page.get_by_label("console of vm1", exact=True).locator(".xterm-accessibility")).to_contain_text(
                "connected to vm1"
            )
            types(page, "\n", "login:", "console of vm1")
            assert terminals(box) != []
        deadline = time.monotonic() + 60
        while terminals(box) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert terminals(box) == []


def terminals(box: Box) -> list[str]:
    """Programs of terminals of the page."""
    return [
        line for _, line in processes() if str(box.prefix) in line and re.search(r"lago -p .* (shell|console) ", line)
    ]


def test_a_snapshot_is_taken_and_reverted_to(box: Box, browser: Browser) -> None:
    with serving(box) as address, opened(browser, address, refused=1) as page:
        field = page.get_by_label("Name of a snapshot")
        field.fill("good<b>")
        field.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("hint:")
        page.get_by_label("Dismiss").click()
        field.fill("good")
        field.press("Enter")
        expect(page.locator(".wp-words")).to_contain_text("good was taken")
        box.shell("vm0", "touch /later")
        page.get_by_role("button", name="Revert to good").click()
        expect(page.locator(".wp-words")).to_contain_text("back at good")
        assert box.shell("vm0", "ls /later 2>/dev/null || echo gone") == "gone\n"
        expect(page.locator(".lv-lanes, .lv-time").first).to_be_visible()
        page.get_by_role("button", name="Delete good").click()
        expect(page.get_by_role("button", name="Revert to good")).to_have_count(0)


def test_a_fault_appears_and_is_healed(box: Box, browser: Browser) -> None:
    with serving(box) as address, opened(browser, address) as page:
        broken = page.get_by_role("list", name="What is broken")
        expect(broken).to_contain_text("Nothing is broken")
        box.lago("fault", "cut", "vm1")
        expect(broken).to_contain_text("cut vm1")
        page.get_by_role("button", name="Heal cut vm1").click()
        expect(broken).to_contain_text("Nothing is broken")
        field = page.get_by_label("Fault, such as: cut vm0")
        field.fill("slow vm0 --delay 20ms")
        field.press("Enter")
        expect(broken).to_contain_text("slow vm0")
        assert "slow vm0" in box.lago("fault", "list").out
        page.get_by_role("button", name="Heal all").click()
        expect(broken).to_contain_text("Nothing is broken")


def test_the_screen_is_shown(box: Box, browser: Browser) -> None:
    with serving(box) as address, opened(browser, address) as page:
        page.get_by_role("button", name="Screen of vm0").click()
        canvas = page.get_by_label("screen of vm0", exact=True).locator("canvas")
        expect(canvas).to_be_visible()
        page.wait_for_function("() => document.querySelector('.wp-screen canvas').width > 300")


def test_what_a_machine_says_is_text(box: Box, browser: Browser) -> None:
    with serving(box) as address, opened(browser, address) as page:
        evil = r"\033]0;x\007<img src=x onerror=alert(1)>\033[2J\000<script>alert(2)</script>"
        box.shell("vm0", f"printf '{evil}\\n' > /dev/ttyS0")
        page.get_by_role("button", name="Console log of vm0").click()
        expect(page.locator(".wp-log")).to_contain_text("<script>alert(2)</script>")
        page.get_by_role("button", name="Shell of vm0").click()
        expect(page.get_by_label("shell of vm0", exact=True).locator(".xterm-accessibility")).to_contain_text("#")
        types(page, f"printf '{evil} %s\\n' done\n", "<script>alert(2)</script> done", "shell of vm0")
        assert page.title().startswith("default")


def test_with_the_keyboard_alone(box: Box, browser: Browser) -> None:
    with serving(box) as address, opened(browser, address) as page:
        to(page, "Shell of vm0")
        page.keyboard.press("Enter")
        expect(page.get_by_label("shell of vm0", exact=True).locator(".xterm-accessibility")).to_contain_text("#")
        types(page, "echo $((6 * 7))\n", "42", "shell of vm0")
        page.keyboard.press("Control+Shift+F6")
        expect(page.get_by_role("button", name="Close shell of vm0")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Shell of vm0")).to_be_focused()
        to(page, "Name of a snapshot")
        page.keyboard.type("keys\n")
        expect(page.locator(".wp-words")).to_contain_text("keys was taken")
        to(page, "Delete keys")
        page.keyboard.press("Space")
        expect(page.locator(".wp-words")).to_contain_text("keys is removed")


def to(page: Page, name: str) -> None:
    """Come to what is called so by Tab."""
    for _ in range(200):
        if page.evaluate("() => document.activeElement.getAttribute('aria-label')") == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not come to {name}")


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (500, True)])
def test_axe_finds_no_serious_fault(box: Box, browser: Browser, width: int, dark: bool) -> None:
    box.lago("fault", "cut", "vm1")
    try:
        with serving(box) as address, opened(browser, address, width, dark=dark) as page:
            page.get_by_role("button", name="Shell of vm0").click()
            expect(page.get_by_label("shell of vm0", exact=True).locator(".xterm-accessibility")).to_contain_text("#")
            expect(page.get_by_role("list", name="What is broken")).to_contain_text("cut vm1")
            found = Axe().run(page).response["violations"]
            told = [f"{one['id']}: {node['html']}: {node['failureSummary']}" for one in found for node in one["nodes"]]
            assert [one["id"] for one in found if one["impact"] in SERIOUS] == [], "\n".join(told)
            assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    finally:
        box.lago("heal")


def test_sigterm_ends_it_and_leaves_machines_as_they_are(box: Box, browser: Browser) -> None:
    before = box.qemu("vm0")
    with serving(box, signal_=signal.SIGTERM) as address, opened(browser, address) as page:
        page.get_by_role("button", name="Shell of vm0").click()
        expect(page.get_by_label("shell of vm0", exact=True).locator(".xterm-accessibility")).to_contain_text("#")
    assert box.qemu("vm0") == before
    assert terminals(box) == []


def test_all_environments_are_on_one_page_for_looking(box: Box, browser: Browser) -> None:
    box.lago("fork", "other")
    try:
        with serving(box, "--all", "--read-only") as address, opened(browser, address) as page:
            nav = page.get_by_role("navigation", name="Environments")
            expect(nav.get_by_role("link")).to_have_count(2, timeout=PATIENCE)
            nav.get_by_role("link", name="other").click()
            expect(page.get_by_role("heading", level=1).first).to_contain_text("other")
            expect(page.get_by_role("button", name="Shell of vm0")).to_have_count(0)
            expect(page.locator(".wp-mode")).to_have_text("read-only")
    finally:
        box.lago("-P", "other", "destroy", "--yes")


def test_a_unix_socket_is_for_its_user_only(box: Box) -> None:
    path = Path(os.environ.get("TMPDIR", "/tmp"), "web.sock")
    with box.popen("-f", "json", "web", "--socket", str(path)) as process:
        try:
            assert process.stdout
            text = ""
            while not text.endswith("}\n"):
                text += process.stdout.readline()
            assert path.stat().st_mode & 0o777 == 0o600
            argv = ["curl", "--silent", "--unix-socket", str(path), "-o", "/dev/null", "-w", "%{http_code}"]
            said = json.loads(text)
            for address, code in ((f"http://localhost{said['address']}", "303"), ("http://localhost/", "401")):
                assert subprocess.run([*argv, address], capture_output=True, text=True, check=True).stdout == code
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert not path.exists()
