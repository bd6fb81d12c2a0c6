"""A real browser, without a window, and pages in it that are watched."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from lago.report import write_html

from ..vm.conftest import box, mini

__all__ = ["box", "mini"]

DATA = Path(__file__).parents[1] / "data" / "journals"
PATIENCE = 60_000
"""Milliseconds that a busy machine may take for something."""

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. Not for the whole session: no other test could have an event loop of its own meanwhile."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("there is no chromium; packages.txt has it")
    with sync_playwright() as playwright:
        # Its sandbox refuses to be started by root.
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=found, args=options)
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page of which it is known what it did without being asked to."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.dialogs: list[str] = []
        self.requests: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda line: self.errors.append(line.text) if line.type in ("error", "warning") else None)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("dialog", self._dialog)

    def _dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def text(self, selector: str) -> str:
        """What is to be read in an element."""
        return self.page.locator(selector).inner_text()

    def texts(self, selector: str) -> list[str]:
        """What is to be read in all such elements."""
        return self.page.locator(selector).all_inner_texts()

    def listed(self) -> int:
        """How many events the list has."""
        return int(re.sub(r"\D", "", self.text(".lv-events .lv-sec-head .lv-dim")))

    def sight(self) -> float:
        """How many seconds are in sight on the lanes."""
        text = self.text(".lv-range").rpartition(", ")[2]
        number, unit = text.split()[:2]
        return float(number) * {"s": 1, "ms": 1e-3, "\u00b5s": 1e-6, "min": 60}[unit]

    def wait(self, condition: str, argument: object = None) -> None:
        """Wait until a JavaScript function returns true."""
        self.page.wait_for_function(condition, arg=argument)

    def plot(self) -> tuple[float, float, float, float]:
        """Where the lanes are in the window: left, top, right, bottom."""
        box = self.page.locator(".lv-lanes").bounding_box()
        assert box
        return box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]


Open = Callable[..., Watched]


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """A function that makes the report of a directory with a journal and opens it from the disk.

    What a page does on its own is a mistake: no test has to look for that.
    """
    contexts: list[BrowserContext] = []
    pages: list[Watched] = []

    def show(directory: Path, *, width: int = 1400, height: int = 900, dark: bool = False) -> Watched:
        report = tmp_path / f"report-{len(pages)}.html"
        write_html(str(directory), str(report))
        contexts.append(
            browser.new_context(
                viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", timezone_id="UTC"
            )
        )
        watched = Watched(contexts[-1].new_page())
        pages.append(watched)
        watched.page.goto(report.as_uri())
        watched.page.wait_for_selector("[data-ready]")
        return watched

    yield show
    for context in contexts:
        context.close()
    for page in pages:
        assert (page.errors, page.dialogs) == ([], [])
        assert [one for one in page.requests if not one.startswith(("file:", "data:"))] == []


@pytest.fixture
def shop(show: Open) -> Watched:
    """The report of three machines, of whose four tests one failed."""
    return show(DATA / "shop")
