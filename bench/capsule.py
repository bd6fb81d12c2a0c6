"""A capsule of three `mini` at a failure, against a snapshot of the same that is not kept."""

from __future__ import annotations

import os
import time
from functools import partial

from common import compare, finish, options, report
from common.environment import Environment, environment

from lago.environment.capsule import making, shelf

BUDGET = 1.2
_VMS = 3
_TEST = "test_bench.py::test_that_fails"


def snapshot(one: Environment) -> float:
    """Seconds that a snapshot takes."""
    prefix = one.prefix
    began = time.perf_counter()
    prefix.create_snapshots("bench")
    seconds = time.perf_counter() - began
    prefix.delete_snapshot("bench")
    return seconds


def capsule(one: Environment) -> float:
    """Seconds that a capsule takes."""
    prefix = one.prefix
    began = time.perf_counter()
    name = making.make(_TEST, {"default": prefix})
    seconds = time.perf_counter() - began
    shelf.delete(name)
    return seconds


def main() -> int:
    """Measure and report."""
    args = options(__doc__)
    with environment(_VMS) as one:
        os.environ["LAGO_CAPSULE_DIR"] = str(one.room / "capsules")
        one.init()
        one.lago("start")
        first = compare(
            "capsule of started machines",
            partial(capsule, one),
            partial(snapshot, one),
            repeat=args.repeat,
            budget=BUDGET,
        )
        one.lago("snapshot", "base")
        one.lago("revert", "base")
        # As those of tests mostly are: what changed since then is all that is written.
        later = compare(
            "capsule of forks, or what was reverted",
            partial(capsule, one),
            partial(snapshot, one),
            repeat=args.repeat,
            budget=BUDGET,
        )
        one.destroy()
    return report("capsule", args, [first, later], warm_up="none")


if __name__ == "__main__":
    finish(main)
