"""The test that runs, in the journals of the environments that it has."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from ..journal.writing import Journal, Span

_LONGEST: Final = 300
"""Characters of what a test said."""

PROPERTY: Final = "lago_report"
"""Name of the property of a test that has the path of a page of what happened."""

TEST: Final = pytest.StashKey["Test"]()
"""The test that runs now."""


class Test:
    """A test that runs.

    Args:
        nodeid: what pytest calls it.
    """

    __test__ = False

    def __init__(self, nodeid: str) -> None:
        self._nodeid = nodeid
        self._began = time.time()
        self._phases: list[tuple[float, str]] = []
        self._spans: dict[str, tuple[Journal, Span]] = {}
        self._end: dict[str, str] = {}

    def join(self, journal: Journal) -> None:
        """Tell the journal of an environment of it, once; what it has done so far too."""
        if journal.prefix_dir not in self._spans:
            span = journal.span("test", t=self._began, nodeid=self._nodeid)
            self._spans[journal.prefix_dir] = (journal, span)
            for when, phase in self._phases:
                journal.event("phase", t=when, nodeid=self._nodeid, phase=phase)

    def begin(self, phase: str) -> None:
        """Tell that a phase begins: `setup`, `call` or `teardown`."""
        now = time.time()
        self._phases.append((now, phase))
        for journal, _ in self._spans.values():
            journal.event("phase", t=now, nodeid=self._nodeid, phase=phase)

    def reported(self, report: pytest.TestReport, *, ends: bool) -> None:
        """Take in what pytest says of a phase.

        Args:
            ends: tell it at once, as the environment may end now; what is bad is told so in any case.
        """
        if (result := _result(report)) is not None:
            self._end = {"result": result, "phase": report.when or "", "message": _message(report)}
        if ends or report.failed:
            self.close()

    def close(self) -> None:
        """Tell how it ended, unless that was told."""
        for _, span in self._spans.values():
            result = self._end.get("result")
            outcome = "interrupted" if result is None else "ok" if result in ("passed", "skipped") else "failed"
            span.close(outcome, **{key: value for key, value in self._end.items() if value})


def _result(report: pytest.TestReport) -> str | None:
    """What a phase says of the whole test; None if nothing."""
    if report.failed:
        return "failed" if report.when == "call" else "error"
    if report.skipped:
        return "skipped"
    return "passed" if report.when == "call" else None


def _message(report: pytest.TestReport) -> str:
    if report.passed:
        return ""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[-1])[:_LONGEST]
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = str(crash.message if crash is not None else report.longrepr or "").splitlines()
    return lines[0][:_LONGEST] if lines else ""


def pages(reports: Iterable[object]) -> list[str]:
    """The pages that reports of tests name, each once."""
    found = [
        str(value) for report in reports for name, value in getattr(report, "user_properties", ()) if name == PROPERTY
    ]
    return list(dict.fromkeys(found))
