"""A copy of memory that is made alike again by comparing; memory is what QEMU has: files of a tmpfs."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago.virt import alike, memory, pages

MIB = 1 << 20
PAGE = pages.SIZE
_PUNCH = 0x3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE


class Guest:
    """A file of memory of so many `pages`, and what a guest does with it."""

    def __init__(self, size: int) -> None:
        self._fd = os.memfd_create("ram")
        os.truncate(self._fd, size)
        self.pages = size // PAGE
        self.path = f"/proc/{os.getpid()}/fd/{self._fd}"

    def write(self, page: int, data: bytes) -> None:
        """Write from the beginning of a page on."""
        os.pwrite(self._fd, data, page * PAGE)

    def give_back(self, page: int, number: int) -> None:
        """Give back pages, as by a balloon."""
        libc = ctypes.CDLL(None, use_errno=True)
        libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong)
        assert libc.fallocate(self._fd, _PUNCH, page * PAGE, number * PAGE) == 0

    def holds(self) -> bytes:
        """All of it."""
        return os.pread(self._fd, os.fstat(self._fd).st_size, 0)

    def used(self) -> int:
        """Bytes that it takes."""
        return os.fstat(self._fd).st_blocks * 512

    def close(self) -> None:
        """Remove it."""
        os.close(self._fd)


@pytest.fixture
def guests() -> Iterator[list[Guest]]:
    """Two cells of memory of which the guest has touched a part."""
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(contextlib.closing(Guest(size))) for size in (12 * MIB, 6 * MIB)]
        made[0].write(0, os.urandom(5 * MIB))
        made[0].write(2000, os.urandom(2 * MIB))
        made[1].write(700, os.urandom(MIB + 7))
        yield made


@pytest.fixture
def copy(guests: list[Guest], tmp_path: Path) -> Iterator[alike.Copy]:
    """A copy of it, on a disk."""
    sources = [guest.path for guest in guests]
    memory.save(sources, str(tmp_path / "saved"))
    with alike.Copy(sources, str(tmp_path / "saved")) as made:
        yield made


def alike_now(guests: list[Guest], saved: Path) -> bool:
    """Whether a copy is like the memory; what differs would take minutes to be shown."""
    return saved.read_bytes() == b"".join(guest.holds() for guest in guests)


def test_nothing_is_written_where_nothing_changed(copy: alike.Copy) -> None:
    assert copy.update() == 0


def test_only_pages_that_differ_are_written(guests: list[Guest], copy: alike.Copy, tmp_path: Path) -> None:
    guests[0].write(3, b"x")
    guests[0].write(4, os.urandom(PAGE))
    guests[0].write(900, os.urandom(20 * PAGE))
    guests[1].write(956, b"the last page that was touched")
    assert copy.update() == 23 * PAGE
    assert alike_now(guests, tmp_path / "saved")
    assert copy.update() == 0


def test_memory_that_is_touched_or_given_back_since_follows(
    guests: list[Guest], copy: alike.Copy, tmp_path: Path
) -> None:
    guests[0].write(1800, b"in a hole")
    guests[0].write(1300, b"at the end of data, and on")
    guests[1].write(0, b"the first of a cell")
    guests[0].give_back(100, 50)
    guests[0].give_back(2100, 5)
    guests[0].write(2103, b"touched again")
    used = [guest.used() for guest in guests]
    copy.update()
    assert alike_now(guests, tmp_path / "saved")
    assert copy.update() == 0
    # To look into a hole would take memory of the host for it.
    assert [guest.used() for guest in guests] == used
    assert (tmp_path / "saved").stat().st_blocks * 512 < 9 * MIB


def test_whatever_a_guest_does_the_copy_is_like_its_memory(
    guests: list[Guest], copy: alike.Copy, tmp_path: Path
) -> None:
    rng = random.Random(7)
    for _ in range(25):
        for _ in range(rng.choice((1, 10, 200))):
            guest = rng.choice(guests)
            page = rng.randrange(guest.pages)
            number = min(rng.choice((1, 1, 3, 60)), guest.pages - page)
            if rng.random() < 0.2:
                guest.give_back(page, number)
            else:
                guest.write(page, rng.choice((bytes(number * PAGE), rng.randbytes(number * PAGE), b"\1")))
        copy.update()
        assert alike_now(guests, tmp_path / "saved")


def test_what_is_not_in_memory_any_more_is_not_waited_for(
    guests: list[Guest], copy: alike.Copy, tmp_path: Path
) -> None:
    with (tmp_path / "saved").open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    guests[0].write(1, b"changed")
    guests[0].give_back(300, 3)
    copy.update()
    assert alike_now(guests, tmp_path / "saved")


def test_a_guest_that_writes_meanwhile_does_no_harm(guests: list[Guest], copy: alike.Copy, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        for number in iter(lambda: 0 if stop.is_set() else random.randrange(1, 1280), 0):
            guests[0].write(number, os.urandom(8))

    with contextlib.ExitStack() as stack:
        thread = threading.Thread(target=write)
        thread.start()
        stack.callback(thread.join)
        stack.callback(stop.set)
        for _ in range(20):
            copy.update()
    copy.update()
    assert alike_now(guests, tmp_path / "saved")


def test_where_there_is_no_more_room_it_is_told(guests: list[Guest], copy: alike.Copy) -> None:
    guests[0].write(2047, os.urandom(2 * PAGE))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Beyond that a file takes nothing, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (2047 * PAGE + 100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            copy.update()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert copy.update() == 2 * PAGE


def test_what_can_not_be_compared_for_certain_is_not(guests: list[Guest], tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    memory.save([guest.path for guest in guests], str(saved))
    with pytest.raises(OSError, match="sizes do not fit"):
        alike.Copy([guests[0].path], str(saved))
    with pytest.raises(OSError, match="may not show what is written"):
        alike.Copy(["/proc/self/status"], str(saved))
    with pytest.raises(OSError, match="may not show what is written"):
        alike.Copy([guest.path for guest in guests], "/proc/self/status")


def test_it_leaves_nothing_open(guests: list[Guest], copy: alike.Copy) -> None:
    def held() -> tuple[int, int]:
        maps = Path("/proc/self/maps").read_text().splitlines()
        return len(os.listdir("/proc/self/fd")), sum("/memfd:ram" in line for line in maps)

    before = held()
    saved = Path(os.readlink(f"/proc/self/fd/{copy._dest.fd}"))
    alike.Copy(copy.sources, str(saved)).close()
    with pytest.raises(OSError, match="sizes do not fit"):
        alike.Copy(copy.sources[:1], str(saved))
    assert held() == before
    copy.close()
    copy.close()
    assert held() == (before[0] - 3, before[1] - 2)
