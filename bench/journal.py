"""What the journal costs: a line, a command on a guest with it and without, and a report of many lines.

Commands with a journal and without run turn by turn in the same environment, so that both see the same guest.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import MIB, compare, compared, finish, options, report, say
from common.environment import environment, fetch_template

from lago import config
from lago.journal.writing import Journal
from lago.report import write_html
from lago.virt import VM

PAIRS = 500
BUDGET = 1.02
LINES = 1000
LINE_BUDGET = 1.0
EVENTS = 100_000
REPORT_BUDGET = 3.0
SIZE_BUDGET = 15.0
MACHINES = 20


def seconds_of_one(vm: VM, journal: Journal) -> float:
    """Seconds of a command, told in a journal."""
    vm.env.__dict__["journal"] = journal
    began = time.perf_counter()
    vm.ssh(["true"], show_output=False)
    return time.perf_counter() - began


def pairs(vm: VM, kept: Journal, none: Journal) -> tuple[list[float], list[float]]:
    """Seconds of commands with a journal and without, turn by turn, each first in every other pair."""
    runs: tuple[list[float], list[float]] = [], []
    both = [(kept, runs[0]), (none, runs[1])]
    for _ in range(PAIRS):
        for journal, found in both:
            found.append(seconds_of_one(vm, journal))
        both.reverse()
    return runs


def with_limit(prefix: str, limit: int) -> Journal:
    """A journal of some MiB, or none."""
    config.add_command_line({"journal_limit": limit})
    journal = Journal(prefix)
    # It is asked once.
    assert journal.kept is bool(limit)
    return journal


def lines(place: str) -> float:
    """Seconds that as many lines take."""
    journal = Journal(place)
    began = time.perf_counter()
    for number in range(LINES):
        journal.event("command", vm="vm0", text=f"echo {number}", out_first="x" * 200, code=0)
    return time.perf_counter() - began


def filled(place: str) -> str:
    """A journal with as many lines as a report must show."""
    random.seed(1)
    journal = Journal(place)
    names = [f"vm{number}" for number in range(MACHINES)]
    vms = {name: {"nics": [{"net": "lan", "ip": f"192.168.200.{at + 2}"}]} for at, name in enumerate(names)}
    journal.event("topology", vms=vms, nets={"lan": {"type": "nat", "gw": "192.168.200.1"}})
    began = time.time() - EVENTS / 100
    entries: list[dict[str, object]] = []
    for number in range(EVENTS // 10):
        at, vm = began + number / 10, random.choice(names)
        entries.append(
            {"t": at, "kind": "command", "id": f"c{number}", "vm": vm, "text": f"systemctl status app-{number}"}
        )
        entries += [
            {
                "t": at + n / 100,
                "kind": "console",
                "vm": random.choice(names),
                "text": f"[{number}] worker {n}: request done",
            }
            for n in range(8)
        ]
        entries.append({"t": at + 0.09, "kind": "end", "id": f"c{number}", "outcome": "ok", "code": 0})
    for first in range(0, len(entries), 1000):
        journal.events(entries[first : first + 1000])
    return place


def within(name: str, measure: Callable[[], float], budget: float, repeat: int) -> dict[str, Any]:
    """Compare what is measured with a number."""
    return compare(name, measure, lambda: budget, repeat=repeat, budget=1.0)


def main() -> int:
    """Measure and report."""
    args = options(__doc__)
    fetch_template()
    with tempfile.TemporaryDirectory() as place:
        results = [within(f"{LINES} lines, against a millisecond each", lambda: lines(place), LINE_BUDGET, args.repeat)]
    with tempfile.TemporaryDirectory() as place:
        say(f"a journal of {EVENTS} lines")
        config.add_command_line({"journal_limit": 1024})
        filled(place)
        page = Path(place, "report.html")

        def made() -> float:
            began = time.perf_counter()
            write_html(place, str(page))
            return time.perf_counter() - began

        results.append(within(f"a report of {EVENTS} lines", made, REPORT_BUDGET, args.repeat))
        results.append(within("its size in MiB", lambda: os.stat(page).st_size / MIB, SIZE_BUDGET, 1))
    with environment(1) as one:
        one.init()
        one.lago("start")
        env = one.prefix.virt_env
        [vm] = env.get_vms().values()
        prefix = one.prefix.paths.prefix()
        kept, none = with_limit(prefix, 64), with_limit(prefix, 0)
        seconds_of_one(vm, kept)
        say(f"{PAIRS} pairs of commands")
        results.append(compared("a command, with the journal against without", *pairs(vm, kept, none), budget=BUDGET))
        env.close()
    return report("journal", args, results, pairs=PAIRS, events=EVENTS)


if __name__ == "__main__":
    finish(main)
