"""The first snapshot of machines that were booted: their memory is of one instant, whatever guests do meanwhile."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lago.environment.prefix import Prefix
from lago.virt import alike, checkpoint

from ..users import User
from .box import ONE, TWO, Box, wait_for
from .test_clocks import busy_host
from .test_in_place import DIES
from .test_memory import small_disk

SOURCE = Path(__file__).with_name("pages.c")
CELLS = """\
domains:
  vm0: {vcpu: 2, memory: 160, disks: [{template_name: mini}], nics: [{net: lan}]}
nets: {lan: {}}
"""
STATE = "/dev/shm/pages"
_CHANGED = re.compile(r"(\d+) bytes of the memory of vm0 have changed")


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that rewrites its memory, for any guest."""
    path = tmp_path_factory.mktemp("pages") / "pages"
    subprocess.run(["gcc", "-O2", "-static", "-o", str(path), str(SOURCE)], check=True)
    path.chmod(0o755)
    return path


class Rewriter:
    """A guest that rewrites most of its memory all the time, and looks at all of it before."""

    def __init__(self, box: Box, program: Path, vm: str = "vm0") -> None:
        self.box, self._vm = box, vm
        copy = box.place / program.name
        copy.write_bytes(program.read_bytes())
        copy.chmod(0o755)
        box.lago("copy-to-vm", vm, str(copy), "/root")
        size = f"$(awk '/^MemAvailable/ {{ print int($2 * 1024 * 0.7) }}' /proc/meminfo)"
        box.shell(vm, f"size={size}; /root/pages $size {STATE} >/dev/null 2>&1 & echo $size")
        self.goes_on()

    def state(self) -> tuple[int, int]:
        """How often it has gone through its memory, and how many pages were wrong."""
        return parsed(self.box.shell(self._vm, f"cat {STATE}"))

    def goes_on(self) -> None:
        """See that it goes through all of its memory, and that no page is wrong."""
        begin = self.state()[0]
        assert wait_for(lambda: self.state()[0] > begin + 1)
        assert self.state()[1] == 0


def parsed(text: str) -> tuple[int, int]:
    rounds, wrong = map(int, text.split())
    return rounds, wrong


def log(box: Box) -> str:
    return (box.prefix / "logs" / "lago.log").read_text()


def test_a_guest_that_rewrites_its_memory_on_a_busy_host_is_saved_at_one_instant(box: Box, program: Path) -> None:
    box.up(ONE)
    rewriter = Rewriter(box, program)
    booted = box.qemu()
    with busy_host():
        box.lago("snapshot", "base")
        rewriter.goes_on()
        [changed] = _CHANGED.findall(log(box))
        # It was written ahead, and some of it again when the machine stood still.
        assert 0 < int(changed) < 128 << 20
        box.lago("revert", "base")
        anew = box.qemu()
        assert anew != booted
        rewriter.goes_on()
        box.lago("revert", "base")
        assert box.qemu() == anew
        rewriter.goes_on()
