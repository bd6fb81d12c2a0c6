"""Which tests run, and in which order: whole distributions when they are asked for, long modules first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

_RECORD = Path(__file__).with_name("durations.json")
"""Seconds that modules took when they were last recorded."""


def add_options(parser: pytest.Parser) -> None:
    """Add what `make test-all` and the recording of durations need."""
    group = parser.getgroup("lago's own tests")
    group.addoption("--slow", action="store_true", help="run the tests marked slow too, which else only run if named")
    group.addoption("--record-durations", action="store_true", help=f"write to {_RECORD.name} how long modules took")


def left_out(config: pytest.Config, items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The slow tests, unless all are wanted or their module is named on the command line."""
    if config.option.slow:
        return []
    named = {Path(word.partition("::")[0]).resolve() for word in config.args}
    return [item for item in items if item.get_closest_marker("slow") and item.path not in named]


def longest_first(items: list[pytest.Item]) -> None:
    """Put modules in an order in which no worker has a long one left when the others are done; unknown ones lead."""
    took: dict[str, float] = json.loads(_RECORD.read_text())
    items.sort(key=lambda item: -took.get(_module(item.nodeid), float("inf")))


def _module(nodeid: str) -> str:
    return nodeid.partition("::")[0]


class Durations:
    """A plugin that records how long each module took, in its tests and their fixtures."""

    def __init__(self) -> None:
        self._took: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up."""
        module = _module(report.nodeid)
        self._took[module] = self._took.get(module, 0) + report.duration

    def pytest_sessionfinish(self) -> None:
        """Write the record; what took less than a second is left out."""
        took = {module: round(seconds) for module, seconds in sorted(self._took.items()) if seconds >= 1}
        _RECORD.write_text(json.dumps(took, indent=1) + "\n")
