"""Reports of environments: a page of what happened, and beside it what machines said on their consoles."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..environment.report import file_name
from ..errors import LagoError
from ..host import long_logs
from . import journals

if TYPE_CHECKING:
    from ..sdk import Env


def wanted(report: pytest.TestReport, when: str) -> bool:
    """Whether there is to be a page of a phase of a test; `when` is a word of the option `--lago-report`."""
    if when == "never" or report.skipped:
        return False
    return report.failed or (when == "always" and report.when == "call")


def write(env: Env, name: str, report: pytest.TestReport, directory: Path) -> str:
    """Write a page of an environment, and the console logs of its machines beside it; what to say of that.

    Args:
        name: of the environment.
        report: of the test.
        directory: where all pages are.
    """
    from .. import report as pages
    from ..virt.watch import wait_for_last_words

    place = directory / file_name(report.nodeid)
    path = place / f"{name}.html"
    try:
        place.mkdir(parents=True, exist_ok=True)
        wait_for_last_words(env.get_paths(), env.get_vms())
        pages.write_html(env.get_paths().prefix(), str(path))
        for vm in env.get_vms().values():
            with contextlib.suppress(FileNotFoundError):
                long_logs.copy(vm.console_log(), os.path.join(place, f"{name}.{vm.name()}.console.log"))
    except (LagoError, OSError) as error:
        return f"there is no page {path}: {error.render() if isinstance(error, LagoError) else error}"
    report.user_properties.append((journals.PROPERTY, str(path)))
    return str(path)
