"""What the benchmarks share: options, timing, medians, the report, and rooms that are empty again at the end.

A benchmark measures whatever `lago` belongs to the interpreter that runs it. Where there is a floor, it is measured in
the same run, turn by turn with Lago, so that a machine that gets slower meanwhile is slower for both.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

PYTHON = sys.executable
LAGO = os.path.join(os.path.dirname(sys.executable), "lago")
MIB = 1 << 20

# Of the user's settings those stay that say how fast guests run and where images are, but not those that name an
# environment. Without its cache of compiled modules no Python program starts as it does in daily use.
_DROPPED = ("LAGO_PREFIX_PATH", "LAGO_WORKDIR_PATH", "LAGO_LIBVIRT_URL", "PYTHONDONTWRITEBYTECODE")


def options(description: str | None, *, vms: str = "", parts: Sequence[str] = ()) -> argparse.Namespace:
    """The command line.

    `vms` is the default of `--vms`, for benchmarks that do the same with several numbers; `parts` are those that
    `--only` chooses of, for benchmarks that take long.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="runs, of which the median counts (5)")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a budget is missed")
    if vms:
        parser.add_argument("--vms", default=vms, metavar="N,...", help=f"numbers of machines ({vms})")
    if parts:
        parser.add_argument("--only", action="append", choices=parts, help="measure this part; may be said repeatedly")
    args = parser.parse_args()
    if args.repeat < 1:
        parser.error("--repeat must be 1 or more")
    if vms:
        try:
            args.vms = [int(number) for number in args.vms.split(",")]
        except ValueError:
            parser.error("--vms takes numbers with commas between")
    return args


def finish(main: Callable[[], int]) -> NoReturn:
    """Run a benchmark and exit: 0, or 1 when it failed (or, with `--check`, missed a budget), 130 when interrupted."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(128 + signal.SIGINT)
    except RuntimeError as error:
        say(f"failed: {error}")
        sys.exit(1)


def say(text: str) -> None:
    """A line for the person who waits."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def room() -> Iterator[Path]:
    """A directory for everything that the benchmark makes, which goes at the end, however that comes."""
    for name in _DROPPED:
        os.environ.pop(name, None)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    path = Path(tempfile.mkdtemp(prefix="lago-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _leave(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """No signal that asks us to end interrupts what is done in here: cleaning up."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    kept = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, kept, strict=True):
            signal.signal(number, handler)


def timed(*argv: str | Path) -> float:
    """Seconds from the start of a program to its end. Raises RuntimeError with what it said, if it fails."""
    began = time.perf_counter()
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        said = done.stdout.decode(errors="replace")
        raise RuntimeError(f"{' '.join(map(str, argv))}: exit status {done.returncode}\n{said}")
    return seconds


def compare(
    name: str, measured: Callable[[], float], floor: Callable[[], float], *, repeat: int, budget: float
) -> dict[str, Any]:
    """Measure both turn by turn, the floor first; the result for the report."""
    runs: list[float] = []
    floor_runs: list[float] = []
    for number in range(repeat):
        floor_runs.append(floor())
        runs.append(measured())
        say(f"{name}: run {number + 1} of {repeat}: {runs[-1]:.3f} s, floor {floor_runs[-1]:.3f} s")
    return compared(name, runs, floor_runs, budget=budget)


def compared(name: str, runs: Sequence[float], floor_runs: Sequence[float], *, budget: float) -> dict[str, Any]:
    """The result for the report of what was measured already, in seconds."""
    seconds, least = statistics.median(runs), statistics.median(floor_runs)
    return {
        "name": name,
        "seconds": round(seconds, 4),
        "floor": round(least, 4),
        "ratio": round(seconds / least, 3),
        "budget": budget,
        "ok": seconds / least <= budget,
        "runs": [round(one, 4) for one in runs],
        "floor_runs": [round(one, 4) for one in floor_runs],
    }


def report(bench: str, args: argparse.Namespace, results: Sequence[dict[str, Any]], **more: Any) -> int:
    """Print the JSON object; the exit status."""
    from lago import config
    from lago.hypervisor import accel

    for result in results:
        mark = "ok" if result["ok"] else "MISSED"
        told = {"ratio": "x the floor", "MiB": "MiB", "seconds": "s"}
        value = next(f"{result[key]} {unit}" for key, unit in told.items() if result.get(key))
        say(f"{result['name']}: {value}, budget {result['budget']}: {mark}")
    facts = {
        "bench": bench,
        "repeat": args.repeat,
        "results": list(results),
        "accelerator": accel.choose(config.get("accel")).kind,
        "host": {
            "cores": len(os.sched_getaffinity(0)),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "qemu": _version("qemu-system-x86_64"),
            "libvirt": _version("libvirtd"),
        },
    }
    print(json.dumps({**facts, **more}), flush=True)
    return 1 if args.check and not all(result["ok"] for result in results) else 0


def _version(program: str) -> str:
    """The first word with a digit of what a program says about itself."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin")
    if path is None:
        return "not installed"
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    return next((word for word in said.split() if word[:1].isdigit()), "unknown")
