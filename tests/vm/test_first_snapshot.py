"""The first snapshot of machines that were booted: their memory is of one instant, whatever guests do meanwhile."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from lago.environment.prefix import Prefix
from lago.errors import HypervisorError
from lago.host.files import sha256
from lago.virt import VM, alike, checkpoint

from ..users import User
from .box import ONE, Box, wait_for
from .test_clocks import busy_host
from .test_in_place import DIES
from .test_memory import SUMS, files, look, mark, small_disk, tree

SOURCE = Path(__file__).with_name("pages.c")
CELLS = """\
domains:
  vm0: {vcpu: 2, memory: 160, disks: [{template_name: mini}], nics: [{net: lan}]}
nets: {lan: {}}
"""
STATE = "/dev/shm/pages"
_PATIENCE = 200
"""Seconds for two rounds; an emulated guest on a busy host has little of a processor."""

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
        box.lago("shell", vm, "-c", "killall -9 pages", code=None)
        copy = box.place / program.name
        copy.write_bytes(program.read_bytes())
        copy.chmod(0o755)
        box.lago("copy-to-vm", vm, str(copy), "/root")
        size = "$(awk '/^MemAvailable/ { print int($2 * 1024 * 0.7) }' /proc/meminfo)"
        box.shell(vm, f"size={size}; /root/pages $size {STATE} >/dev/null 2>&1 &")
        self.goes_on()

    def state(self) -> tuple[int, int]:
        """How often it has gone through its memory, and how many pages were wrong."""
        return parsed(self.box.shell(self._vm, f"cat {STATE}"))

    def goes_on(self) -> None:
        """See that it goes through all of its memory, and that no page is wrong."""
        begin = self.state()[0]
        # A page that is wrong is found on the way.
        assert wait_for(lambda: self.state()[0] > begin + 1 or self.state()[1], _PATIENCE)
        assert self.state()[1] == 0


def parsed(text: str) -> tuple[int, int]:
    rounds, wrong = map(int, text.split())
    return rounds, wrong


def log(box: Box) -> str:
    return (box.prefix / "logs" / "lago.log").read_text()


@pytest.fixture
def rewriter(module_box: Box, program: Path) -> Rewriter:
    """One in a machine that was booted, not brought back, whatever a test before has done to it."""
    module_box.up(ONE)
    return Rewriter(module_box, program)


def test_a_guest_that_rewrites_its_memory_on_a_busy_host_is_saved_at_one_instant(rewriter: Rewriter) -> None:
    box, booted = rewriter.box, rewriter.box.qemu()
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
    box.lago("stop")
    box.lago("snapshot", "delete", "base")


@pytest.mark.slow
def test_what_can_not_be_compared_is_written_once_more(rewriter: Rewriter, monkeypatch: pytest.MonkeyPatch) -> None:
    box = rewriter.box
    with monkeypatch.context() as patch, contextlib.closing(Prefix(str(box.prefix)).virt_env) as env:
        patch.setattr(alike, "local", lambda _: False)
        env.snapshots.create_snapshots("written")
    assert "the memory of vm0 is written once more when it stands still: " in log(box)
    rewriter.goes_on()
    box.lago("revert", "written")
    rewriter.goes_on()
    box.lago("stop")
    box.lago("snapshot", "delete", "written")


MOMENTS = [
    ("lago.virt.checkpoint", "save_apart", "after"),
    ("lago.virt.alike", "_compared", "before"),
    ("lago.virt.memory", "save", "before"),
    ("lago.virt.memory", "save", "after"),
    ("lago.virt.checkpoint", "_update", "after"),
    ("lago.virt.checkpoint", "save_apart", "before"),
]


@pytest.mark.parametrize(
    ("module", "name", "moment"), [MOMENTS[0], *(pytest.param(*one, marks=pytest.mark.slow) for one in MOMENTS[1:])]
)
def test_killed_at_any_point_nothing_is_kept_and_the_guest_goes_on(
    rewriter: Rewriter, module: str, name: str, moment: str
) -> None:
    box = rewriter.box
    words = [sys.executable, "-c", DIES, module, name, moment, "snapshot", "doomed"]
    killed = subprocess.run(words, cwd=box.place, env=box.environment(), capture_output=True, text=True)
    assert killed.returncode == -9, killed
    box.lago("start")
    assert files(box) == []
    assert "doomed" not in tree(box)
    rewriter.goes_on()


INTERRUPTED = """
import importlib, os, signal, sys
from lago.cli.main import main
module, name, *words = sys.argv[1:]
owner = importlib.import_module(module)
real = getattr(owner, name)
def interrupted(*args, **options):
    os.kill(os.getpid(), signal.SIGINT)
    return real(*args, **options)
setattr(owner, name, interrupted)
sys.exit(main(words))
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("lago.virt.checkpoint", "save_apart"),
        pytest.param("lago.virt.memory", "save", marks=pytest.mark.slow),
        pytest.param("lago.virt.checkpoint", "_update", marks=pytest.mark.slow),
    ],
)
def test_interrupted_at_any_point_nothing_is_kept_and_the_guest_goes_on(
    rewriter: Rewriter, module: str, name: str
) -> None:
    box = rewriter.box
    words = [sys.executable, "-c", INTERRUPTED, module, name, "snapshot", "doomed"]
    ended = subprocess.run(words, cwd=box.place, env=box.environment(), capture_output=True, text=True)
    assert ended.returncode == 130, ended
    assert box.states() == {"vm0": "running"}, ended
    assert files(box) == []
    assert "doomed" not in tree(box)
    rewriter.goes_on()


LARGER = """\
domains:
  vm0: {vcpu: 1, memory: 256, disks: [{template_name: mini}], nics: [{net: lan}]}
nets: {lan: {}}
"""


@pytest.mark.slow
def test_on_a_disk_that_becomes_full_meanwhile_nothing_is_kept_and_guests_find_room(
    mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room: list[int] = []
    with small_disk(tmp_path, 700) as place, contextlib.closing(Box(place)) as box:
        box.up(LARGER)

        def update(copy: alike.Copy, real: Callable[[alike.Copy], int] = alike.Copy.update) -> int:
            if not (place / "full").exists():
                # While it runs; what it touches for the first time needs room.
                mark(box, "data", 1600)
                (place / "full").write_bytes(bytes(shutil.disk_usage(place).free - (8 << 20)))
                return 0
            return real(copy)

        def resume(vm: VM, real: Callable[[VM], None] = checkpoint.resume) -> None:
            room.append(shutil.disk_usage(place).free)
            real(vm)

        with monkeypatch.context() as patch, contextlib.closing(Prefix(str(box.prefix)).virt_env) as env:
            patch.setattr(alike.Copy, "update", update)
            patch.setattr(checkpoint, "resume", resume)
            with pytest.raises(HypervisorError, match="No space left") as raised:
                env.snapshots.create_snapshots("full")
        assert raised.value.hint.startswith("the disk is full: ")
        # What was written of its memory before is there no more when it goes on.
        assert room[0] > 40 << 20
        assert files(box) == []
        assert look(box) == SUMS["data"]
        (place / "full").unlink()
        box.lago("snapshot", "base")
        box.lago("revert", "base")
        assert look(box) == SUMS["data"]
        box.lago("destroy", "--yes")


@pytest.mark.slow
def test_an_ordinary_users_machine_with_cells_is_compared_as_well(
    mini: Path, throwaway_user: User, program: Path
) -> None:
    with contextlib.closing(Box.of_user(throwaway_user, mini, "first")) as box:
        box.up(CELLS)
        rewriter = Rewriter(box, program)
        with busy_host():
            box.lago("snapshot", "base")
            [changed] = _CHANGED.findall(log(box))
            assert 0 < int(changed) < 160 << 20
            for _ in range(2):
                box.lago("revert", "base")
                rewriter.goes_on()


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_no_page_is_wrong_in_a_thousand_reverts_of_a_guest_that_rewrites_its_memory(box: Box, program: Path) -> None:
    times, wrong, ways = 1000, 0, Counter[bool]()
    box.up(ONE)
    rewriter = Rewriter(box, program)
    with busy_host():
        box.lago("snapshot", "base")
    box.lago("revert", "base")
    [saved] = [path for path in (box.prefix / "snapshots").iterdir() if path.suffix == ".mem"]
    before = sha256(str(saved))
    begin = rewriter.state()[0]
    with contextlib.closing(Prefix(str(box.prefix)).virt_env) as env:
        vm = env.get_vm("vm0")
        for number in range(times):
            pid = box.qemu()
            if number % 10 == 9:
                vm.stop()
            Prefix(str(box.prefix)).revert_snapshots("base")
            ways[box.qemu() == pid] += 1
            # Where it was in the snapshot is not known, but not behind that.
            begin = min(begin, parsed(vm.succeed(f"cat {STATE}"))[0])
            vm.succeed(f"while read rounds wrong <{STATE} && [ $rounds -lt {begin + 2} ]; do usleep 20000; done")
            wrong += parsed(vm.succeed(f"cat {STATE}"))[1]
            if number % 50 == 49:
                print(f"{number + 1} reverts, {ways[True]} of them in place, {wrong} pages wrong", flush=True)
    assert wrong == 0
    assert ways == {True: times - times // 10, False: times // 10}
    assert sha256(str(saved)) == before
