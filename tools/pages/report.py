"""`python -m pages.report JOURNAL DIRECTORY`: how a browser shows a report: `report.png`, and `report-narrow.png`."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import sync_playwright

from lago.report import write_html

_SIZES: Final = {"report.png": (1400, 1060, "light"), "report-narrow.png": (500, 1060, "dark")}
_PATIENCE: Final = 60_000


def shoot(journal: str, directory: Path) -> None:
    """Write the pictures of a directory with a journal."""
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        page_file = Path(place, "report.html")
        write_html(journal, str(page_file))
        # Its sandbox refuses to be started by root.
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=options)
        for name, (width, height, scheme) in _SIZES.items():
            page = browser.new_page(
                viewport={"width": width, "height": height},
                color_scheme="dark" if scheme == "dark" else "light",
                timezone_id="UTC",
            )
            page.goto(page_file.as_uri())
            page.wait_for_selector("[data-ready]", timeout=_PATIENCE)
            page.wait_for_function("document.querySelector('.lv-range').textContent")
            page.screenshot(path=directory / name)
        browser.close()


if __name__ == "__main__":
    shoot(sys.argv[1], Path(sys.argv[2]))
