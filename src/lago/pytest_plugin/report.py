"""What an environment has to tell about a failed test."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import pytest

from ..errors import LagoError
from ..host.programs import tail
from ..paths import Paths
from ..virt import VM

_TAIL: Final = 40
"""Lines of a console log that are shown."""


def file_name(text: str) -> str:
    """`text` as the name of a file."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")[:100]


def states(vms: Mapping[str, VM]) -> str:
    """The states of machines in a line."""
    return ", ".join(f"{name}={_state(vm)}" for name, vm in vms.items())


def _state(vm: VM) -> str:
    try:
        return vm.state()
    except LagoError as error:
        return f"unknown ({error})"


def explain(report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
    """Add to a report all that an error of Lago says; pytest shows the first line of it."""
    error = call.excinfo and call.excinfo.value
    if isinstance(error, LagoError) and (error.details or error.hint):
        report.sections.append(("lago error", error.render()))


def attach(
    report: pytest.TestReport, paths: Paths, vms: Mapping[str, VM], dest: str, collect: Callable[[str], object]
) -> None:
    """Add the ends of the console logs of an environment to a report.

    Args:
        dest: directory for artifacts and whole logs, if they are wanted.
        collect: fills it.
    """
    report.sections.append(("lago environment", f"{paths.prefix()}\n{states(vms)}"))
    for name, vm in vms.items():
        report.sections.append((f"lago console of {name}", tail(vm.console_text(), _TAIL) or "(nothing)"))
    if dest:
        try:
            collect(dest)
        except (LagoError, OSError) as error:
            text = error.render() if isinstance(error, LagoError) else str(error)
            report.sections.append(("lago collect", f"not all is in {dest}: {text}"))
        else:
            report.sections.append(("lago collect", dest))
