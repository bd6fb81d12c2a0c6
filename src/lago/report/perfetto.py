"""A journal as trace events, which ui.perfetto.dev and Chrome's tracing page show.

The form is the Trace Event Format's JSON object: `traceEvents` with complete events (`X`), instant events (`i`) and
metadata (`M`), times in microseconds. Each machine is a process of it. Complete events of a thread must nest, so what
overlaps is spread over several threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..errors import printable
from .timeline import Timed, of, title

_LAGO: Final = 1
"""The process for what is of no machine."""

_ROWS: Final = {"test": "tests", "fault": "faults", "command": "commands", "script": "commands", "copy": "commands"}
_LONGEST: Final = 200
"""Characters of a name; all of it is in the arguments."""


def trace(entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return trace events, as JSON can hold them.

    Args:
        entries: a journal.
    """
    items = of(entries)
    start = items[0].t if items else 0.0
    last = max((one.end or one.t for one in items), default=start)
    made = _Trace(start, last)
    for item in items:
        made.add(item)
    return {
        "traceEvents": made.finished(),
        "displayTimeUnit": "ms",
        "otherData": {"made by": "lago report", "start, seconds since 1970": start},
    }


class _Trace:
    def __init__(self, start: float, last: float) -> None:
        self._start = start
        self._last = last
        self._processes: dict[str, int] = {}
        self._threads: dict[tuple[int, str], int] = {}
        self._rows: dict[tuple[int, str], list[float]] = {}
        self._states: dict[str, Timed] = {}
        self._events: list[dict[str, Any]] = []
        self._process("")

    def add(self, item: Timed) -> None:
        kind = item.opening["kind"]
        if kind == "topology":
            for name in item.opening["vms"]:
                self._process(str(name))
        if kind in ("journal", "topology"):
            return
        process = self._process(item.vm)
        if kind == "state":
            self._state(item.vm, item)
        elif item.lasts:
            until = self._last if item.end is None else item.end
            row = self._row(process, _ROWS.get(kind, "lago"), item.t, until)
            self._events.append(self._complete(item, process, row, until))
        else:
            self._events.append(
                {
                    "name": _name(item),
                    "cat": kind,
                    "ph": "i",
                    "s": "t",
                    "ts": self._micros(item.t),
                    "pid": process,
                    "tid": self._thread(process, kind),
                    "args": _args(item),
                }
            )

    def finished(self) -> list[dict[str, Any]]:
        for vm in list(self._states):
            self._state(vm, None)
        return [*self._names(), *self._events]

    def _names(self) -> Iterable[dict[str, Any]]:
        for name, process in self._processes.items():
            told = printable(name) or "Lago"
            yield {"name": "process_name", "ph": "M", "pid": process, "tid": 0, "args": {"name": told}}
            yield {"name": "process_sort_index", "ph": "M", "pid": process, "tid": 0, "args": {"sort_index": process}}
        for (process, name), thread in self._threads.items():
            yield {"name": "thread_name", "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}

    def _process(self, vm: str) -> int:
        return self._processes.setdefault(vm, _LAGO + len(self._processes))

    def _thread(self, process: int, name: str) -> int:
        return self._threads.setdefault((process, name), len(self._threads) + 1)

    def _row(self, process: int, name: str, begin: float, end: float) -> int:
        """Return the first thread of a kind on which nothing else lasts."""
        rows = self._rows.setdefault((process, name), [])
        number = next((at for at, busy in enumerate(rows) if busy <= begin), len(rows))
        rows[number:] = [end, *rows[number + 1 :]]
        return self._thread(process, name if number == 0 else f"{name} {number + 1}")

    def _state(self, vm: str, now: Timed | None) -> None:
        """End the state in which a machine was; `now` is its next."""
        if before := self._states.pop(vm, None):
            process = self._process(vm)
            until = self._last if now is None else now.t
            self._events.append(self._complete(before, process, self._thread(process, "state"), until))
        if now is not None:
            self._states[vm] = now

    def _complete(self, item: Timed, process: int, thread: int, until: float) -> dict[str, Any]:
        return {
            "name": _name(item),
            "cat": item.opening["kind"],
            "ph": "X",
            "ts": self._micros(item.t),
            "dur": max(0, self._micros(until) - self._micros(item.t)),
            "pid": process,
            "tid": thread,
            "args": _args(item),
        }

    def _micros(self, t: float) -> int:
        return round((t - self._start) * 1e6)


def _name(item: Timed) -> str:
    return printable(title(item))[:_LONGEST] or item.opening["kind"]


def _args(item: Timed) -> dict[str, Any]:
    found = {**item.opening, **(item.ending or {})}
    args = {key: value for key, value in found.items() if key not in ("t", "kind", "id", "parent", "vm")}
    if item.lasts and item.ending is None:
        args["outcome"] = "no end was seen"
    return args
