"""Unit tests stay inside the process."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def no_programs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that runs a program without the marker `programs`."""
    if request.node.get_closest_marker("programs"):
        return

    def refuse(_self: object, argv: Any, *_args: Any, **_kwargs: Any) -> None:
        raise AssertionError(f"a unit test runs {argv!r}; mark it with @pytest.mark.programs")

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
    # What is left of such a Popen is collected as garbage, which must not add an error of its own.
    monkeypatch.setattr(subprocess.Popen, "__del__", lambda _self: None)
