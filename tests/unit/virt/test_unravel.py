"""QEMU's migration stream, taken apart: streams made by hand, and one of a real QEMU."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import random
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lago.errors import HypervisorError
from lago.virt.unravel import unravel

PAGE = 4096
ZERO, DATA, CONTINUES = 0x02, 0x08, 0x20
HEAD = (
    b"QEVM\0\0\0\3\7\0\0\0\x0apc-q35-7.2\5\x1aconfiguration/capabilities\0\0\0\1\0\0\0\1\x0fx-ignore-shared"
    b"\1\0\0\0\2\3ram\0\0\0\0\0\0\0\4"
)
DEVICES = b"\4\0\0\0\3what devices hold\0\6\0\0\0\2{}"
END = struct.pack(">Q", 0x10) + b"\x7e\0\0\0\2"
BLOCKS = {"pc.ram": 64 * PAGE, "vga.vram": 16 * PAGE}


def sizes(blocks: Mapping[str, int]) -> bytes:
    listed = (bytes([len(name)]) + name.encode() + struct.pack(">QQ", size, 0) for name, size in blocks.items())
    return struct.pack(">Q", sum(blocks.values()) | 0x04) + b"".join(listed)


def page(number: int, data: bytes | None, block: str = "") -> bytes:
    """A record: a page with data, or without any of zeros; without a block of that of the record before."""
    flags = (ZERO if data is None else DATA) | (0 if block else CONTINUES)
    name = bytes([len(block)]) + block.encode() if block else b""
    return struct.pack(">Q", number * PAGE | flags) + name + (b"\0" if data is None else data)


def parts(*records: bytes) -> bytes:
    """Sections with these records, the last of which says that there is no more."""
    kinds = [*[b"\2"] * (len(records) - 1), b"\3"]
    return b"".join(kind + b"\0\0\0\2" + one + END for kind, one in zip(kinds, records, strict=True))


def whole(*records: bytes, blocks: Mapping[str, int] = BLOCKS) -> bytes:
    return HEAD + sizes(blocks) + END + parts(*records) + DEVICES


def taken_apart(
    stream: bytes, path: Path, *names: str, step: int = 1 << 20, halts: list[float] | None = None
) -> tuple[bytes, bytes]:
    """What comes of a stream that is written `step` bytes at a time: memory, which is in a file then, and the rest."""
    reader, writer = os.pipe()

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), open(writer, "wb", buffering=0) as pipe:
            for at in range(0, len(stream), step):
                pipe.write(stream[at : at + step])

    writing = threading.Thread(target=write)
    writing.start()
    state = io.BytesIO()
    try:
        with open(reader, "rb", buffering=0), path.open("w+b", buffering=0) as memory:
            unravel(
                reader,
                memory.fileno(),
                state,
                names or ("pc.ram",),
                halts.append if halts is not None else lambda _: None,
            )
    finally:
        writing.join()
    return path.read_bytes(), state.getvalue()


def fill(number: int) -> bytes:
    return struct.pack(">Q", number + 1) * (PAGE // 8)


def test_pages_go_to_their_place_and_zeros_stay_holes(tmp_path: Path) -> None:
    run = b"".join(page(number, fill(number)) for number in range(11, 40))
    zeros = b"".join(page(number, None) for number in range(1, 10))
    records = page(0, None, "pc.ram") + zeros + page(10, fill(10)) + run + page(40, None) + page(63, fill(63))
    memory, state = taken_apart(whole(records), tmp_path / "memory")
    wanted = {number: fill(number) for number in (*range(10, 40), 63)}
    assert memory == b"".join(wanted.get(number, bytes(PAGE)) for number in range(64))
    assert (tmp_path / "memory").stat().st_blocks * 512 == 31 * PAGE
    assert state == whole(b"")


def test_of_a_page_that_comes_twice_the_later_counts_also_if_it_is_of_zeros(tmp_path: Path) -> None:
    first = page(1, fill(1), "pc.ram") + b"".join(page(number, fill(number)) for number in range(2, 20))
    second = page(2, fill(99)) + page(3, None) + page(4, None) + page(30, None) + page(5, fill(98))
    third = page(5, None) + page(3, fill(97))
    memory, _ = taken_apart(whole(first, second, third), tmp_path / "memory")
    wanted = {number: fill(number) for number in range(1, 20)} | {2: fill(99), 3: fill(97), 4: b"", 5: b""}
    assert memory == b"".join(wanted.get(number, b"").ljust(PAGE, b"\0") for number in range(64))


def test_the_rest_stays_as_it_came(tmp_path: Path) -> None:
    picture = page(0, fill(7), "vga.vram") + page(1, None) + page(5, fill(8))
    other = page(6, fill(9), "vga.vram")
    first = page(3, fill(3), "pc.ram") + picture + page(4, fill(4), "pc.ram")
    # The block that a page continues was named in the section before.
    memory, state = taken_apart(whole(first, page(5, fill(5)), other, page(9, None)), tmp_path / "memory")
    assert memory[3 * PAGE : 6 * PAGE] == fill(3) + fill(4) + fill(5)
    start = HEAD + sizes(BLOCKS) + END
    assert state == start + b"\2\0\0\0\2" + picture + END + b"\2\0\0\0\2" + other + END + parts(page(9, None)) + DEVICES


def test_several_parts_are_in_the_file_one_after_another(tmp_path: Path) -> None:
    blocks = {"/objects/ram-node1": 8 * PAGE, "vga.vram": PAGE, "ram-node0": 4 * PAGE}
    records = page(7, fill(1), "/objects/ram-node1") + page(0, fill(2), "vga.vram") + page(1, fill(3), "ram-node0")
    memory, state = taken_apart(whole(records, blocks=blocks), tmp_path / "memory", "ram-node0", "ram-node1")
    wanted = {1: fill(3), 4 + 7: fill(1)}
    assert memory == b"".join(wanted.get(number, bytes(PAGE)) for number in range(12))
    assert state == whole(page(0, fill(2), "vga.vram"), blocks=blocks)


@pytest.mark.parametrize("step", [1 << 20, 5000, 61])
def test_whatever_the_order_and_the_pieces_in_which_they_come(tmp_path: Path, step: int) -> None:
    rng = random.Random(step)
    wanted = {block: [bytes(PAGE)] * (size // PAGE) for block, size in BLOCKS.items()}
    before, sections, kept = "", [], {"vga.vram": bytearray()}
    for _ in range(20):
        section = b""
        for _ in range(rng.randrange(12)):
            block = rng.choice(list(BLOCKS))
            number, some = rng.randrange(BLOCKS[block] // PAGE), rng.random() < 0.6
            for at in range(number, min(number + rng.choice((1, 1, 7)), BLOCKS[block] // PAGE)):
                record = page(at, fill(rng.randrange(1 << 30)) if some else None, "" if block == before else block)
                wanted[block][at] = record[-PAGE:] if some else bytes(PAGE)
                section += record
                if block in kept:
                    kept[block] += record
                before = block
        sections.append(section)
    memory, state = taken_apart(whole(*sections), tmp_path / "memory", step=step)
    assert memory == b"".join(wanted["pc.ram"])
    # What is kept, without the frames of sections, is just the records of the other block.
    for frame in (b"\2\0\0\0\2", b"\3\0\0\0\2", END):
        state = state.replace(frame, b"")
    assert state == HEAD + sizes(BLOCKS) + bytes(kept["vga.vram"]) + DEVICES


def test_it_is_told_how_far_it_is(tmp_path: Path) -> None:
    halts: list[float] = []
    first = page(15, fill(0), "pc.ram") + page(47, None) + page(8, None, "vga.vram")
    taken_apart(whole(first, page(1, fill(0), "pc.ram")), tmp_path / "memory", halts=halts)
    assert halts == [15 / 80, 47 / 80, 72 / 80, 1 + 1 / 80]


def test_what_ends_early_or_is_unknown_is_refused(tmp_path: Path) -> None:
    good = page(1, fill(1), "pc.ram") + page(2, None)
    stream = whole(good)
    before = len(stream) - len(DEVICES)
    for end in itertools.chain(range(0, before, 97), (before,)):
        with pytest.raises(HypervisorError, match="ends early"):
            taken_apart(stream[:end], tmp_path / "memory")
    bad = {
        "compressed": struct.pack(">Q", 0x100),
        "a page filled": page(3, None)[:-1] + b"\1",
        "beyond": page(64, fill(0)),
    }
    for what, record in bad.items():
        with pytest.raises(HypervisorError, match="flags 0x100" if what == "compressed" else what):
            taken_apart(whole(good + record), tmp_path / "memory")
    for old, new in ((b"QEVM\0\0\0\3", b"QEVM\0\0\0\4"), (b"\3ram", b"\3rom"), (b"\3\0\0\0\2", b"\x08\0\0\0\2")):
        with pytest.raises(HypervisorError, match="none that Lago knows"):
            taken_apart(stream.replace(old, new), tmp_path / "memory")
    with pytest.raises(HypervisorError, match="no memory lago"):
        taken_apart(stream, tmp_path / "memory", "lago")


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with open(reader, "rb", buffering=0), open(writer, "wb") as pipe:
        pipe.write(whole(page(1, fill(1), "pc.ram")))
        pipe.close()
        with (
            (tmp_path / "memory").open("wb") as memory,
            open("/dev/full", "wb", buffering=0) as full,
            pytest.raises(OSError, match="No space left"),
        ):
            unravel(reader, memory.fileno(), full, ["pc.ram"])


class Qemu:
    """A machine of bare QEMU, of whose memory its firmware writes a part."""

    def __init__(self, place: Path, *words: str) -> None:
        ours, theirs = socket.socketpair()
        argv = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-accel", "tcg", "-m", "32", "-S", *words]
        argv += ["-chardev", f"socket,id=mon,fd={theirs.fileno()}", "-mon", "chardev=mon,mode=control"]
        self.process = subprocess.Popen(argv, pass_fds=[theirs.fileno()], cwd=place)
        theirs.close()
        ours.settimeout(60)
        self._socket, self._file = ours, ours.makefile("r")
        self._answer()
        self.ask("qmp_capabilities")
        self.ask("migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": True}])

    def ask(self, command: str, **arguments: Any) -> Any:
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while "return" not in (answer := self._answer()):
            assert "error" not in answer, answer
        return answer["return"]

    def _answer(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._file.readline())
        return answer

    def migrated(self) -> None:
        while (status := self.ask("query-migrate").get("status")) != "completed":
            assert status not in ("failed", "cancelled")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._file.close()
        self._socket.close()


@contextlib.contextmanager
def qemu(place: Path, *words: str) -> Iterator[Qemu]:
    with contextlib.closing(Qemu(place, *words)) as one:
        yield one


@pytest.mark.programs
def test_a_machine_of_a_real_qemu_comes_back_on_the_file(tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    machine = ("-machine", "q35,memory-backend=pc.ram")
    with qemu(tmp_path, *machine, "-object", "memory-backend-ram,id=pc.ram,size=32M", "-vga", "std") as one:
        one.ask("cont")
        one.ask("migrate", uri="exec:cat >stream")
        one.migrated()
        one.ask("pmemsave", val=0xC0000, size=0x40000, filename="firmware")
        one.ask("pmemsave", val=0x100000, size=31 << 20, filename="upper")
    _, state = taken_apart((tmp_path / "stream").read_bytes(), memory)
    content = memory.read_bytes()
    assert len(content) == 32 << 20
    assert content[0x100000:] == (tmp_path / "upper").read_bytes()
    assert any(content)
    assert len(state) < 2 << 20
    (tmp_path / "state").write_bytes(state)
    backend = "memory-backend-file,id=pc.ram,size=32M,mem-path=memory,share=on"
    with qemu(tmp_path, *machine, "-object", backend, "-vga", "std", "-incoming", "defer") as two:
        two.ask("migrate-incoming", uri="exec:cat state")
        two.migrated()
        two.ask("pmemsave", val=0xC0000, size=0x40000, filename="again")
        assert (tmp_path / "again").read_bytes() == (tmp_path / "firmware").read_bytes()
        two.ask("cont")
        assert two.ask("query-status")["running"]
