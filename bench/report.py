"""What `lago report` costs with 20 machines and 100 000 events, and how soon a browser shows it and moves in it.

The browser is Debian's Chromium without a window, so what would be drawn by a graphics card is drawn by the processor.
"""

from __future__ import annotations

import os
import statistics
import sys
from pathlib import Path
from typing import Any

from common import LAGO, MIB, finish, options, report, room, say, timed
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.browser.journals import large, write

EVENTS, MACHINES = 100_000, 20
MADE_SECONDS = 3.0
SIZE_MIB = 15.0
PAINT_SECONDS = 2.0
FRAME_SECONDS = 0.05
"""A twentieth of a second is seen as a movement, if barely."""

_FRAMES = 60

_ZOOM = """async (frames) => {
    const lanes = document.querySelector(".lv-lanes");
    const box = lanes.getBoundingClientRect();
    const took = [];
    for (let at = 0; at < frames; at += 1) {
        const began = performance.now();
        lanes.dispatchEvent(new WheelEvent("wheel", {
            deltaY: at < frames / 2 ? -120 : 120, bubbles: true, cancelable: true,
            clientX: box.left + box.width / 2, clientY: box.top + 80,
        }));
        await new Promise((done) => requestAnimationFrame(() => {
            const after = new MessageChannel();
            after.port1.onmessage = done;
            after.port2.postMessage(0);
        }));
        took.push((performance.now() - began) / 1000);
    }
    return took;
}"""
_SCROLL = """async (frames) => {
    const list = document.querySelector(".lv-events-rows");
    const took = [];
    for (let at = 0; at < frames; at += 1) {
        const began = performance.now();
        list.scrollTop += 2000;
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        took.push((performance.now() - began) / 2000);
    }
    return took;
}"""
_SEARCH = """() => {
    const input = document.querySelector("input[type=search]");
    input.value = "unit42 ";
    const began = performance.now();
    input.dispatchEvent(new Event("input"));
    return (performance.now() - began) / 1000;
}"""


def _result(name: str, runs: list[float], budget: float) -> dict[str, Any]:
    seconds = statistics.median(runs)
    return {
        "name": name,
        "seconds": round(seconds, 3),
        "budget": budget,
        "ok": seconds <= budget,
        "runs": [round(one, 3) for one in runs],
    }


def _shown(page: Page, address: str) -> dict[str, list[float]]:
    page.goto(address)
    page.wait_for_selector("[data-ready]")
    page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000")
    return {
        "first paint": [paint],
        "a frame while zooming": page.evaluate(_ZOOM, _FRAMES),
        "a frame while scrolling": page.evaluate(_SCROLL, _FRAMES),
        "a search through everything": [page.evaluate(_SEARCH)],
    }


def main() -> int:
    """Measure and report."""
    args = options(__doc__)
    with room() as path:
        directory = write(path / "journal", large(EVENTS, MACHINES))
        file = path / "report.html"
        made = []
        for number in range(args.repeat):
            made.append(timed(LAGO, "report", directory, "-o", file))
            say(f"report: run {number + 1} of {args.repeat}: {made[-1]:.3f} s")
        size = file.stat().st_size / MIB
        results = [
            _result("a report of 100 000 events is made", made, MADE_SECONDS),
            {"name": "its size", "MiB": round(size, 2), "budget": SIZE_MIB, "ok": size <= SIZE_MIB},
        ]
        shown: dict[str, list[float]] = {}
        with sync_playwright() as playwright:
            options_ = ["--no-sandbox"] if os.geteuid() == 0 else []
            for number in range(args.repeat):
                browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=options_)
                page = browser.new_page(viewport={"width": 1400, "height": 900})
                for name, runs in _shown(page, file.as_uri()).items():
                    shown.setdefault(name, []).extend(runs)
                browser.close()
                say(f"browser: run {number + 1} of {args.repeat}: first paint {shown['first paint'][-1]:.3f} s")
        for name, runs in shown.items():
            budget = PAINT_SECONDS if name == "first paint" else FRAME_SECONDS if "frame" in name else 0.5
            results.append(_result(name, runs, budget))
    return report("report", args, results)


if __name__ == "__main__":
    finish(main)
