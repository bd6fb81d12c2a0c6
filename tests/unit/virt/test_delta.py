"""States with pages in them, and the file that they are counted from."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago.virt import checkpoint, delta, stream
from lago.virt.mapped import NAME
from lago.virt.pages import SIZE

TEXT = b"<domain>\n</domain>"
DEVICES = b"\x04devices"
COUNT = 64
BLOCKS = (stream.Block(NAME, COUNT * SIZE, 0), stream.Block("vga.vram", 4 * SIZE, 0))
SCREEN = stream.Page("vga.vram", SIZE, b"s" * SIZE)


def made(path: Path, pages: dict[int, bytes]) -> Path:
    """A file of memory with these pages."""
    with path.open("wb") as file:
        file.truncate(COUNT * SIZE)
        for number, data in pages.items():
            file.seek(number * SIZE)
            file.write(data)
    path.chmod(0o444)
    return path


def state(path: Path, pages: dict[int, bytes]) -> Path:
    """A state with these pages, and one of other memory."""
    with path.open("wb", buffering=0) as file:
        file.write(b"%d\n" % len(TEXT) + TEXT)
        writer = stream.Writer(file.fileno(), stream.own_head("pc-q35-7.2", BLOCKS))
        writer.page(SCREEN)
        for number, data in pages.items():
            writer.page(stream.Page(NAME, number * SIZE, data))
        writer.devices(DEVICES)
    return path


def found(path: Path) -> dict[int, bytes]:
    """The pages of the machine's memory in a state, of which all else must be as it was."""
    with path.open("rb") as file:
        assert file.read(int(file.readline())) == TEXT
        head = stream.head(file)
        assert head.blocks == BLOCKS
        first, *rest = stream.pages(file, head)
        assert first == SCREEN
        assert file.read() == DEVICES
    return {page.offset // SIZE: page.data or bytes(SIZE) for page in rest}


def content(base: Path, state: Path) -> bytes:
    """The memory that a base and a state make."""
    memory = bytearray(base.read_bytes())
    for number, data in found(state).items():
        memory[number * SIZE : (number + 1) * SIZE] = data
    return bytes(memory)


PAGES = {0: b"a" * SIZE, 1: b"b" * SIZE, 5: b"c" * SIZE, 63: b"d" * SIZE}
CHANGED = {1: b"b" * SIZE, 2: bytes(SIZE), 5: bytes(SIZE), 6: b"e" * SIZE, 63: b"d" * SIZE}


def test_what_the_base_has_already_is_left_out(tmp_path: Path) -> None:
    base, changed = made(tmp_path / "base", PAGES), state(tmp_path / "state", CHANGED)
    before = content(base, changed)
    delta.compact(str(base), str(changed))
    assert found(changed) == {5: bytes(SIZE), 6: b"e" * SIZE}
    assert content(base, changed) == before
    assert changed.stat().st_size < 3 * SIZE + 400
    assert stat.S_IMODE(changed.stat().st_mode) == 0o444


def test_a_base_with_a_state_becomes_a_base(tmp_path: Path) -> None:
    base, changed = made(tmp_path / "base", PAGES), state(tmp_path / "state", CHANGED)
    before, old = content(base, changed), base.read_bytes()
    delta.merge(str(base), str(changed), str(tmp_path / "new"))
    assert (tmp_path / "new").read_bytes() == before
    assert found(changed) == {}
    assert base.read_bytes() == old
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new", changed)} == {0o444}
    assert sorted(os.listdir(tmp_path)) == ["base", "new", "state"]


def test_the_state_fits_the_old_base_and_the_new_one_while_they_are_merged(tmp_path: Path) -> None:
    base, changed = made(tmp_path / "base", PAGES), state(tmp_path / "state", CHANGED)
    old = state(tmp_path / "old", CHANGED)
    before = content(base, changed)
    delta.merge(str(base), str(changed), str(base))
    assert content(base, old) == content(base, changed) == before


@pytest.mark.parametrize("seed", range(5))
def test_whatever_a_machine_changed_comes_back(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)

    def some() -> dict[int, bytes]:
        numbers = rng.sample(range(COUNT), rng.randrange(COUNT))
        return {number: bytes([rng.randrange(3)]) * SIZE for number in numbers}

    base, changed = made(tmp_path / "base", some()), state(tmp_path / "state", some())
    before = content(base, changed)
    delta.compact(str(base), str(changed))
    assert content(base, changed) == before
    delta.merge(str(base), str(changed), str(tmp_path / "new"))
    assert content(tmp_path / "new", changed) == before


def test_only_a_large_state_is_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delta, "_SMALL", 0)
    base = made(tmp_path / "base", dict.fromkeys(range(COUNT), b"x" * SIZE))
    small = state(tmp_path / "small", dict.fromkeys(range(8), b"y" * SIZE))
    large = state(tmp_path / "large", dict.fromkeys(range(32), b"y" * SIZE))
    # What is large only because it has pages of the base in it is not.
    alike = state(tmp_path / "alike", dict.fromkeys(range(32), b"x" * SIZE))
    found = {path: checkpoint.consolidate(str(base), str(path), f"{path}.new") for path in (small, large, alike)}
    assert found == {small: False, large: True, alike: False}
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".new"] == ["large.new"]


@pytest.mark.parametrize("room", [100, COUNT * SIZE - 1])
def test_where_there_is_no_room_all_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    monkeypatch.setattr(delta, "_SMALL", 0)
    base, changed = made(tmp_path / "base", PAGES), state(tmp_path / "state", CHANGED)
    before = content(base, changed)
    with no_file_longer_than(room):
        assert not checkpoint.consolidate(str(base), str(changed), str(tmp_path / "new"))
    assert content(base, changed) == before
    assert sorted(os.listdir(tmp_path)) == ["base", "state"]


@contextlib.contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """Context manager: the system refuses to make files longer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_cells_are_parts_of_one_base(tmp_path: Path) -> None:
    base, changed, half = made(tmp_path / "base", PAGES), tmp_path / "state", COUNT // 2 * SIZE
    blocks = (stream.Block("ram-node0", half, 0), stream.Block("ram-node1", half, half), BLOCKS[1])
    with changed.open("wb", buffering=0) as file:
        file.write(b"%d\n" % len(TEXT) + TEXT)
        writer = stream.Writer(file.fileno(), stream.own_head("pc-q35-7.2", blocks))
        for block, number, data in (("ram-node0", 5, b"c"), ("ram-node1", 0, b"n"), ("ram-node1", 31, b"d")):
            writer.page(stream.Page(block, number * SIZE, data * SIZE))
        writer.devices(DEVICES)
    delta.compact(str(base), str(changed))
    with changed.open("rb") as file:
        file.read(int(file.readline()))
        left = list(stream.pages(file, stream.head(file)))
    assert left == [stream.Page("ram-node1", 0, b"n" * SIZE)]
    delta.merge(str(base), str(changed), str(tmp_path / "new"))
    wanted = bytearray(base.read_bytes())
    wanted[half : half + SIZE] = b"n" * SIZE
    assert (tmp_path / "new").read_bytes() == wanted
