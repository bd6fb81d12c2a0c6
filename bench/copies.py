"""What copying costs: a tree of small files, and one of a few large ones, to and from a guest.

The floor is `tar` piped through the same ssh connection.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from common import MIB, compare, finish, options, report, say
from common.environment import environment, fetch_template

from lago.guest import transfer
from lago.guest.ssh import Guest

BUDGET = 1.2
FILES = 2000
LARGE_MIB = 200


def small(tree: Path) -> Path:
    """A tree of many small files."""
    for number in range(FILES):
        path = tree / f"d{number % 20}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * (number % 4096))
    return tree


def large(tree: Path) -> Path:
    """A tree of four large files."""
    tree.mkdir(parents=True)
    for number in range(4):
        tree.joinpath(f"f{number}").write_bytes(bytes(LARGE_MIB // 4 * MIB))
    return tree


def piped(source: list[str], sink: list[str]) -> None:
    """Run two programs, one reading what the other writes. Raises RuntimeError if one fails."""
    with subprocess.Popen(source, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as first:
        second = subprocess.run(sink, stdin=first.stdout, check=False)
    if first.returncode or second.returncode:
        raise RuntimeError(f"{source[0]} | {sink[0]}: exit status {first.returncode} and {second.returncode}")


class Copies:
    """Copies of one tree; each goes to a place that is empty."""

    def __init__(self, guest: Guest, tree: Path, back: Path) -> None:
        self._guest = guest
        self._tree = tree
        self._back = back

    def _timed(self, action: Callable[[], None]) -> float:
        self._guest.run("rm -rf /root/copy; sync")
        shutil.rmtree(self._back, ignore_errors=True)
        began = time.perf_counter()
        action()
        return time.perf_counter() - began

    def to(self) -> float:
        """Seconds of Lago's copy to the guest."""
        return self._timed(lambda: transfer.copy_to(self._guest, str(self._tree), "/root/copy"))

    def to_floor(self) -> float:
        """Seconds of the floor."""
        unpack = self._guest.argv("mkdir /root/copy && tar -x -f - -C /root/copy")
        return self._timed(lambda: piped(["tar", "-c", "-f", "-", "-C", str(self._tree), "."], unpack))

    def from_(self) -> float:
        """Seconds of Lago's copy from the guest."""
        return self._timed(lambda: transfer.copy_from(self._guest, "/root/origin", str(self._back)))

    def from_floor(self) -> float:
        """Seconds of the floor."""

        def copy() -> None:
            self._back.mkdir()
            pack = self._guest.argv("tar -c -f - -C /root/origin .")
            piped(pack, ["tar", "-x", "-f", "-", "-C", str(self._back)])

        return self._timed(copy)


def main() -> int:
    """Measure and report."""
    args = options(__doc__)
    fetch_template()
    results = []
    with environment(1) as one:
        one.init()
        one.lago("start")
        guest = one.prefix.guest("vm0")
        against = partial(compare, repeat=args.repeat, budget=BUDGET)
        for name, tree in (("small files", small(one.room / "small")), ("large files", large(one.room / "large"))):
            say(f"{name}: one copy that is not counted")
            copies = Copies(guest, tree, one.room / "back")
            guest.run("rm -rf /root/origin")
            transfer.copy_to(guest, str(tree), "/root/origin")
            results.append(against(f"{name}, to a guest", copies.to, copies.to_floor))
            results.append(against(f"{name}, from a guest", copies.from_, copies.from_floor))
    return report("copies", args, results, files=FILES, MiB=LARGE_MIB)


if __name__ == "__main__":
    finish(main)
