"""What is kept of a failed test besides its report: packets of its time, and what machines showed at the failure."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pytest

from .. import sdk
from ..environment import screens
from ..environment.captures import MOST, acts
from ..environment.captures.capturing import Capturing
from ..environment.report import Section
from ..errors import LagoError
from ..log import LOG

PACKETS: Final = "lago_capture"
"""Property of a failed test, for JUnit's XML among others: the path of a file of packets."""

_OWNER: Final = "pytest"


def begin(env: sdk.Env) -> Capturing:
    """Begin to capture all nets of an environment that are up; tests may have captures of their own beside it.

    Raises:
        LagoError: it can't be done here, or no program for it is installed.
    """
    prefix = env._prefix
    up = [name for name, net in env.get_nets().items() if net.alive()]
    begun = prefix._start_captures(up, "", MOST, _OWNER) if up else []
    return Capturing(begun, lambda nets: acts.stop(prefix.paths, nets, _OWNER))


def end(captured: Capturing, dest: Path | None) -> Iterator[str]:
    """End what was begun, and move its files to a directory, whose paths are yielded; without one they are removed."""
    try:
        captured.stop()
    except LagoError as error:
        LOG.warning("captures can't be ended: %s", error.render())
    if dest is not None:
        for path in captured.paths:
            yield _copy(path, dest)
    acts.remove(captured.captures)


def of_screens(env: sdk.Env, dest: Path | None) -> Iterator[Section]:
    """Keep what the machines of an environment show; a section that tells where.

    Args:
        dest: a directory for copies of that, which outlive the environment.
    """
    paths = env.get_paths()
    with contextlib.suppress(OSError):
        kept = screens.keep(paths, env.get_vms().values())
        if dest is not None:
            kept = [_copy(path, dest) for path in kept]
        if kept:
            yield "lago screens", "\n".join(kept)


def _copy(path: str, dest: Path) -> str:
    dest.mkdir(parents=True, exist_ok=True)
    return str(shutil.copy2(path, str(dest / os.path.basename(path))))


def summarise(reporter: pytest.TerminalReporter, reports: Iterable[object]) -> None:
    """Say where the packets of failed tests are."""
    lines = [
        f"{one.nodeid}: {value}"
        for one in reports
        if isinstance(one, pytest.TestReport)
        for name, value in one.user_properties
        if name == PACKETS
    ]
    if lines:
        reporter.section("packets of failed tests")
        for line in lines:
            reporter.line(line)
