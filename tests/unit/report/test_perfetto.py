"""A journal as trace events, held to what the Trace Event Format says of them."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from lago.journal.reading import entries
from lago.report.perfetto import trace
from tests.browser import journals

SHOP = Path(__file__).parents[2] / "data" / "journals" / "shop"


@pytest.fixture(params=["shop", "hostile", "large"])
def told(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Trace events of a journal, as another program reads them."""
    directory = SHOP
    if request.param != "shop":
        made = journals.hostile() if request.param == "hostile" else journals.large(2000, 20)
        directory = journals.write(tmp_path / "journal", made)
    found: dict[str, Any] = json.loads(json.dumps(trace(entries(str(directory))), allow_nan=False))
    return found


def test_each_event_has_what_its_phase_asks_for(told: dict[str, Any]) -> None:
    assert told["displayTimeUnit"] in ("ms", "ns")
    for event in told["traceEvents"]:
        assert isinstance(event["name"], str)
        assert event["name"]
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert isinstance(event["args"], dict)
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "process_sort_index", "thread_name")
            continue
        assert event["ph"] in ("X", "i")
        assert isinstance(event["ts"], int)
        assert event["ts"] >= 0
        if event["ph"] == "X":
            assert event["dur"] >= 0
        else:
            assert event["s"] in ("g", "p", "t")


def test_what_lasts_on_a_thread_nests(told: dict[str, Any]) -> None:
    rows = defaultdict(list)
    for event in told["traceEvents"]:
        if event["ph"] == "X":
            rows[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    assert rows
    for spans in rows.values():
        spans.sort()
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))


def test_processes_and_threads_have_names(told: dict[str, Any]) -> None:
    named = {(one["pid"], one["tid"]) for one in told["traceEvents"] if one["name"] == "thread_name"}
    assert {(one["pid"], one["tid"]) for one in told["traceEvents"] if one["ph"] != "M"} <= named
    processes = {one["pid"] for one in told["traceEvents"] if one["name"] == "process_name"}
    assert {one["pid"] for one in told["traceEvents"]} == processes


def test_machines_are_processes_and_what_they_did_is_in_them() -> None:
    found = trace(entries(str(SHOP)))["traceEvents"]
    machines = {one["args"]["name"]: one["pid"] for one in found if one["name"] == "process_name"}
    assert list(machines) == ["Lago", "web", "db", "cache"]
    (curl,) = [one for one in found if one["name"].startswith("curl --max-time")]
    assert (curl["pid"], curl["ts"], curl["dur"], curl["cat"]) == (machines["web"], 16_600_000, 6_400_000, "command")
    assert curl["args"]["code"] == 28
    (sleep,) = [one for one in found if one["name"] == "sleep infinity"]
    assert sleep["args"]["outcome"] == "no end was seen"
    states = [
        one["name"]
        for one in found
        if one["cat" if "cat" in one else "ph"] == "state" and one["pid"] == machines["cache"]
    ]
    assert states == ["shut off", "running", "paused", "running"]
