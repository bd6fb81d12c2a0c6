"""The firmware image that `accel` runs to see whether an accelerator works; assembled from `probe_guest.S`."""

from __future__ import annotations

from typing import Final

EXIT_STATUS: Final = 2 * 0x2A + 1
"""How QEMU ends when the guest reached its last instruction."""

_SIZE: Final = 64 * 1024
_START: Final = _SIZE - 0x200
_RESET_VECTOR: Final = _SIZE - 0x10

_CODE: Final = bytes.fromhex(
    "fa 2e 67 66 0f 01 15 e8 fe 00 00 0f 20 c0 0c 01 0f 22 c0 66 ea 1b fe ff ff 08 00"  # 16 bit
    "b8 10 00 00 00 8e d8 8e c0 8e d0 31 c0"  # 32 bit: segments
    "bf 00 10 00 00 b9 00 10 00 00 fc f3 ab"  # page tables
    "c7 05 00 10 00 00 03 20 00 00 c7 05 00 20 00 00 03 30 00 00 c7 05 18 20 00 00 03 40 00 00"
    "c7 05 00 30 00 00 83 00 00 00 c7 05 f8 4f 00 00 83 00 e0 ff"
    "0f 20 e0 83 c8 20 0f 22 e0 b8 00 10 00 00 0f 22 d8 b9 80 00 00 c0 0f 32 0d 00 01 00 00 0f 30"  # long mode
    "0f 20 c0 0d 00 00 00 80 0f 22 c0 ea 98 fe ff ff 18 00"
    "48 b8 ef cd ab 89 67 45 23 01 49 89 c7 31 c0 0f a2 b9 00 00 00 02 ff c9 75 fc"  # 64 bit: cpuid, loop
    "48 b8 ef cd ab 89 67 45 23 01 49 39 c7 75 04 b0 2a e6 f4 f4 eb fd"  # compare, exit
    "00 00 00 00 00 00 00 00 ff ff 00 00 00 9b cf 00 ff ff 00 00 00 93 cf 00 ff ff 00 00 00 9b af 00"  # gdt
    "1f 00 c8 fe ff ff"
)
_JUMP: Final = bytes.fromhex("e9 0d fe")


def image() -> bytes:
    """Image of the guest, a multiple of 64 KiB as QEMU wants firmware to be."""
    raw = bytearray(_SIZE)
    raw[_START : _START + len(_CODE)] = _CODE
    raw[_RESET_VECTOR : _RESET_VECTOR + len(_JUMP)] = _JUMP
    return bytes(raw)
