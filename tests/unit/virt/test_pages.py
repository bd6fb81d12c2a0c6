"""The memory of another process, which here maps a file as a QEMU would."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago.virt import pages

SIZE = 3 << 20
PROGRAM = """\
import mmap, sys
with open(sys.argv[1], "rb") as file:
    memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
first = memory[0], memory[8 << 12]
for page in (1, 2, 5, 300, 301, 767):
    memory[page << 12] = 7
print("ready", flush=True)
for line in sys.stdin:
    begin, end = map(int, line.split())
    print(memory[begin:end].hex(), flush=True)
"""
WRITTEN = [(0x1000, 0x3000), (0x5000, 0x6000), (300 << 12, 302 << 12), (767 << 12, 768 << 12)]

pytestmark = pytest.mark.programs


class Other:
    """Another process, with a file mapped."""

    def __init__(self, process: subprocess.Popen[str], path: Path) -> None:
        self._process = process
        self.pid = process.pid
        found = pages.mapping(self.pid, str(path))
        assert found is not None
        self.address, self.size = found

    def sees(self, begin: int, end: int) -> bytes:
        """What it finds there."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{begin} {end}\n")
        self._process.stdin.flush()
        return bytes.fromhex(self._process.stdout.readline())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a file"
    path.write_bytes(bytes(range(256)) * (SIZE // 256))
    return path


@pytest.fixture
def other(path: Path) -> Iterator[Other]:
    argv = [sys.executable, "-c", PROGRAM, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Other(process, path)
        process.kill()


def test_what_a_process_wrote_is_told_from_what_it_only_read(other: Other) -> None:
    assert other.size == SIZE
    assert pages.private(other.pid, other.address, SIZE) == WRITTEN
    assert pages.length(WRITTEN) == 6 << 12


def test_an_older_kernel_tells_the_same(other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> int:
        raise OSError(errno.ENOTTY, "inappropriate ioctl")

    monkeypatch.setattr(fcntl, "ioctl", refuses)
    monkeypatch.setattr(pages, "_MAP_CHUNK", 64)
    assert pages.private(other.pid, other.address, SIZE) == WRITTEN


@pytest.mark.parametrize(
    ("entry", "private"),
    [(1 << 63, 1), (1 << 62, 1), (1 << 63 | 1 << 61, 0), (1 << 62 | 1 << 61, 0), (1 << 63 | 1 << 55, 1), (0, 0)],
)
def test_an_entry_of_a_page_map_says_whose_a_page_is(entry: int, private: int) -> None:
    # In memory, swapped out, of a file, written to; proc(5) has these bits.
    assert pages._PRIVATE[entry.to_bytes(8, "little")[7]] == private


def test_more_runs_than_one_call_tells(other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_REGIONS", 1)
    assert pages.private(other.pid, other.address, SIZE) == WRITTEN


def test_memory_is_read_and_written_and_the_file_stays(other: Other, path: Path) -> None:
    before = path.read_bytes()
    pages.write(other.pid, other.address, [(0x3000, b"n" * 4096), (SIZE - 4096, b"e" * 4096)])
    assert other.sees(0x2FFE, 0x3002) == b"\xfe\xffnn"
    runs = [(0x2000, 0x4000), (0x5000, 0x6000), (1 << 20, 5 << 19)]
    read = [(at, bytes(data)) for found in pages.read(other.pid, other.address, runs) for at, data in found]
    assert read[0] == (0x2000, b"\x07" + before[0x2001:0x3000] + b"n" * 4096)
    assert read[1] == (0x5000, b"\x07" + before[0x5001:0x6000])
    rest = bytearray(before[1 << 20 : 5 << 19])
    rest[(300 << 12) - (1 << 20)] = rest[(301 << 12) - (1 << 20)] = 7
    assert b"".join(data for _, data in read[2:]) == rest
    assert pages.private(other.pid, other.address, SIZE)[0] == (0x1000, 0x4000)
    assert path.read_bytes() == before


def test_a_file_that_was_replaced_is_not_the_one_that_is_mapped(other: Other, path: Path) -> None:
    path.rename(path.with_name("gone"))
    path.write_bytes(b"")
    assert pages.mapping(other.pid, str(path)) is None
    assert pages.mapping(other.pid, str(path.with_name("gone"))) is not None
    os.unlink(path.with_name("gone"))
    assert pages.mapping(other.pid, str(path.with_name("gone"))) is None


def test_a_file_that_others_see_being_written_is_none(tmp_path: Path) -> None:
    (tmp_path / "shared").write_bytes(bytes(8192))
    with open(tmp_path / "shared", "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[0] = 1
        assert pages.mapping(os.getpid(), str(tmp_path / "shared")) is None


def test_what_a_process_holds_grows_with_what_it_writes() -> None:
    before = pages.held(os.getpid())
    with mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE) as memory:
        for page in range(0, len(memory), mmap.PAGESIZE):
            memory[page] = 1
        assert pages.held(os.getpid()) - before > 48 << 20


def test_a_process_that_ended_is_no_surprise() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    for ask in (lambda: pages.held(process.pid), lambda: pages.private(process.pid, 0, 4096)):
        with pytest.raises(OSError, match="No such"):
            ask()
