"""Pictures of screens: what QEMU makes, as PNG (https://www.w3.org/TR/png-3/)."""

from __future__ import annotations

import re
import struct
import zlib
from typing import Final

from ..errors import VMError

_PPM: Final = re.compile(rb"P6\s+([1-9]\d*)\s+([1-9]\d*)\s+255\s")


_PNG: Final = b"\x89PNG\r\n\x1a\n"


def size(data: bytes) -> tuple[int, int]:
    """Return width and height of a PNG or PPM image. Raises VMError if it is none."""
    if head := _PPM.match(data):
        return int(head[1]), int(head[2])
    if data.startswith(_PNG) and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
        return width, height
    raise VMError("the picture of the screen has an unknown format", details=repr(data[:20]))


def png_of_ppm(data: bytes) -> bytes:
    """Return a PNG image of a binary PPM image with 8 bits per colour, which is what QEMU makes (netpbm's `ppm(5)`).

    Raises:
        VMError: this is none, or not all of one.
    """
    head = _PPM.match(data)
    width, height = (int(head[1]), int(head[2])) if head else (0, 0)
    if head is None or len(data) < head.end() + 3 * width * height:
        raise VMError("the picture of the screen has an unknown format", details=repr(data[:20]))
    starts = range(head.end(), head.end() + 3 * width * height, 3 * width)
    # Each line begins with its filter: none.
    lines = b"".join(b"\0" + data[start : start + 3 * width] for start in starts)
    # 8 bits of red, green and blue, without interlacing.
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return _PNG + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
