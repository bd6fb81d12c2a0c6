"""QEMU's migration stream."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import pytest

from lago.errors import HypervisorError
from lago.virt import stream
from lago.virt.pages import SIZE

BEGIN = (
    b"QEVM\x00\x00\x00\x03\x07\x00\x00\x00\npc-q35-7.2\x05\x1aconfiguration/capabilities\x00\x00\x00\x01\x00\x00\x00\x01"
    b"\x0fx-ignore-shared\x01\x00\x00\x00\x03\x03ram\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\t\x00\x00\x04"
    b"\x06pc.ram\x00\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    b"\x150000:00:01.0/vga.vram\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xfd\x00\x00\x00"
)
"""How QEMU 7.2 begins for a machine of 128 MiB with x-ignore-shared, but for its ROMs."""


def test_what_qemu_writes_is_understood_and_written_alike() -> None:
    head = stream.head(io.BytesIO(BEGIN + b"rest"))
    assert head.machine == "pc-q35-7.2"
    assert head.capabilities == ("x-ignore-shared",)
    assert head.blocks == (
        stream.Block("pc.ram", 128 << 20, 0),
        stream.Block("0000:00:01.0/vga.vram", 16 << 20, 0xFD000000),
    )
    assert head.encoded() == BEGIN


def test_a_stream_without_addresses_is_understood_too() -> None:
    plain = stream.Head("pc-q35-7.2", (), 2, (stream.Block("pc.ram", 1 << 33, None),))
    assert stream.head(io.BytesIO(plain.encoded())) == plain


def test_memory_gets_another_name_and_all_else_stays() -> None:
    head = stream.head(io.BytesIO(BEGIN)).renamed({"pc.ram": "other.ram"})
    assert head.encoded() == BEGIN.replace(b"\x06pc.ram", b"\x09other.ram")


@pytest.mark.parametrize("data", [b"", BEGIN[:90], b"\x00" * 200, BEGIN.replace(b"\x03ram", b"\x03rom")])
def test_what_is_no_stream_is_refused(data: bytes) -> None:
    with pytest.raises(HypervisorError, match="none that Lago knows"):
        stream.head(io.BytesIO(data))


BLOCKS = (stream.Block("lago.ram", 8 * SIZE, 0), stream.Block("0000:00:01.0/vga.vram", 4 * SIZE, 0))
DEVICES = b"\x04\x00\x00\x00\x07devices of a machine"
PAGES = [
    stream.Page("lago.ram", 0, b"a" * SIZE),
    stream.Page("lago.ram", SIZE, None),
    stream.Page("lago.ram", 7 * SIZE, b"b" * SIZE),
    stream.Page("0000:00:01.0/vga.vram", 2 * SIZE, b"c" * SIZE),
    stream.Page("lago.ram", 3 * SIZE, b"d" * SIZE),
]


def written(path: Path, *parts: stream.Page) -> Path:
    """A file with a stream of these pages."""
    with path.open("wb", buffering=0) as file:
        writer = stream.Writer(file.fileno(), stream.own_head("pc-q35-7.2", BLOCKS))
        for page in parts:
            writer.page(page)
        writer.devices(DEVICES)
    return path


def test_pages_that_are_written_are_read(tmp_path: Path) -> None:
    with written(tmp_path / "state", *PAGES).open("rb") as file:
        head = stream.head(file)
        assert (head.machine, head.blocks) == ("pc-q35-7.2", BLOCKS)
        assert list(stream.pages(file, head)) == PAGES
        assert file.read() == DEVICES


def test_runs_of_pages_are_written_as_single_ones_are(tmp_path: Path) -> None:
    many = 3000
    data = os.urandom(many * SIZE)
    blocks = (stream.Block("lago.ram", many * SIZE, 0),)
    with (tmp_path / "state").open("w+b") as file:
        writer = stream.Writer(file.fileno(), stream.own_head("pc-q35-7.2", blocks))
        half = many // 2 * SIZE
        writer.pages("lago.ram", [(0, memoryview(data)[:half]), (half, memoryview(data)[half:])])
        writer.devices(DEVICES)
        file.seek(0)
        read = list(stream.pages(file, stream.head(file)))
    assert [page.offset for page in read] == [number * SIZE for number in range(many)]
    assert b"".join(page.data or b"" for page in read) == data


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    with open("/dev/full", "wb", buffering=0) as file:
        writer = stream.Writer(file.fileno(), stream.own_head("pc-q35-7.2", BLOCKS))
        with pytest.raises(OSError, match="No space left"):
            writer.devices(DEVICES)


def test_what_is_written_into_a_pipe_in_parts_is_all_there() -> None:
    reader, writer_end = os.pipe()
    read: list[bytes] = []
    with open(reader, "rb") as source, open(writer_end, "wb", buffering=0) as dest:
        thread = threading.Thread(target=lambda: read.append(source.read()))
        thread.start()
        os.set_blocking(dest.fileno(), True)
        writer = stream.Writer(dest.fileno(), stream.own_head("pc-q35-7.2", BLOCKS))
        for number in range(700):
            writer.page(stream.Page("lago.ram", number % 8 * SIZE, bytes([number % 251]) * SIZE))
        writer.devices(DEVICES)
        dest.close()
        thread.join()
    file = io.BytesIO(read[0])
    assert len(list(stream.pages(file, stream.head(file)))) == 700
    assert file.read() == DEVICES


@pytest.mark.parametrize("cut", [3, SIZE, 2 * SIZE])
def test_a_stream_that_ends_early_is_refused(tmp_path: Path, cut: int) -> None:
    whole = written(tmp_path / "state", *PAGES).read_bytes()
    file = io.BytesIO(whole[: len(whole) - len(DEVICES) - cut])
    with pytest.raises(HypervisorError, match="none that Lago knows"):
        list(stream.pages(file, stream.head(file)))


def test_devices_alone_become_the_end_of_a_stream() -> None:
    alone = b"QEVM\x00\x00\x00\x03" + DEVICES + b"\x00"
    assert stream.devices(alone) == DEVICES + b"\x00\x06\x00\x00\x00\x02{}"
    named = b"QEVM\x00\x00\x00\x03\x07\x00\x00\x00\npc-q35-7.2" + DEVICES + b"\x00\x06\x00\x00\x00\x02{}"
    assert stream.devices(named) == stream.devices(alone)
    for other in (b"", alone[:8], b"QEVM\x00\x00\x00\x03\x01" + DEVICES):
        with pytest.raises(HypervisorError, match="none that Lago knows"):
            stream.devices(other)


@pytest.mark.parametrize("shared", [False, True])
def test_a_stream_is_copied_with_other_names(tmp_path: Path, shared: bool) -> None:
    for names in ({"lago.ram": "pc.ram"}, {"none.ram": "pc.ram"}):
        with written(tmp_path / "state", *PAGES).open("rb") as file, (tmp_path / "copy").open("w+b") as dest:
            head = stream.head(file)
            stream.copy(file, head.with_shared() if shared else head, dest.fileno(), names)
            dest.seek(0)
            copied = stream.head(dest)
            assert copied.capabilities == (() if shared else ("x-ignore-shared",))
            assert [(one.name, one.size) for one in copied.blocks] == [
                (names.get(one.name, one.name), one.size) for one in BLOCKS
            ]
            wanted = [page._replace(block=names.get(page.block, page.block)) for page in PAGES]
            assert list(stream.pages(dest, copied)) == wanted
            assert dest.read() == DEVICES
