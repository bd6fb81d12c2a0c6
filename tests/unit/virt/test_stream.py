"""QEMU's migration stream."""

from __future__ import annotations

import io

import pytest

from lago.errors import HypervisorError
from lago.virt import stream

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
