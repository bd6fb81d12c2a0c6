"""What an environment has to tell about a failed test: sections of a report, each a title and its text."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from ..errors import LagoError, printable
from ..host.parallel import in_parallel
from ..host.programs import tail
from ..paths import Paths
from ..virt import VM
from ..virt.journal import last_errors

Section = tuple[str, str]

_TAIL: Final = 40
"""Lines of a journal or a console log that are shown."""


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


def of_error(error: BaseException | None) -> Iterator[Section]:
    """All that an error of Lago says; pytest shows the first line of it."""
    if isinstance(error, LagoError) and (error.details or error.hint):
        yield "lago error", error.render()


def of_faults(timeline: Iterable[Mapping[str, Any]]) -> Iterator[Section]:
    """When what was broken on purpose.

    Args:
        timeline: as `lago.sdk.Env.fault_timeline` tells it.
    """
    lines = []
    for one in timeline:
        until = f"to {_clock(one['until'])}" if one["until"] else "and still so"
        lines.append(f"{_clock(one['since'])} {until}: {one['fault']}")
    if lines:
        yield "lago faults", "\n".join(lines)


def _clock(seconds: float) -> str:
    """An instant of today, to a tenth of a second."""
    return f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{int(seconds * 10) % 10}"


def of_environment(
    paths: Paths, vms: Mapping[str, VM], dest: str, collect: Callable[[str], object]
) -> Iterator[Section]:
    """Where it is, the states of its machines, and what each said last.

    That is the last errors in the journal of a systemd guest that answers, and else the end of the console log.

    Args:
        dest: directory for artifacts and whole logs, if they are wanted.
        collect: fills it.
    """
    yield "lago environment", f"{paths.prefix()}\n{states(vms)}"
    yield from in_parallel(_said, vms.values(), what="ask for errors")
    if dest:
        yield "lago collect", _collect(dest, collect)


def _said(vm: VM) -> Section:
    if (errors := last_errors(vm, _TAIL)) is not None:
        return f"lago journal of {vm.name()}", printable(errors) or "(no errors)"
    return f"lago console of {vm.name()}", printable(tail(vm.console_text(), _TAIL)) or "(nothing)"


def _collect(dest: str, collect: Callable[[str], object]) -> str:
    """Where artifacts are, or why not all of them."""
    try:
        collect(dest)
    except (LagoError, OSError) as error:
        return f"not all is in {dest}: {error.render() if isinstance(error, LagoError) else error}"
    return dest
