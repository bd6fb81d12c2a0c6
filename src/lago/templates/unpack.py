"""What images are packed in: xz, zstandard, gzip and bzip2, known by how they begin, not by their names."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final

from ..errors import TemplateError
from ..host.fetch import BLOCK

Unpack = Callable[[Iterator[bytes], str], Iterator[bytes]]
"""Makes of packed blocks, and the name of where they come from, those that are in them. Raises TemplateError."""


def opener(head: bytes) -> Unpack | None:
    """How to unpack what begins with `head`; None if it is not packed."""
    for magic, open_ in _KINDS.items():
        if head.startswith(magic):
            return lambda blocks, source: _unpack(open_, blocks, source)
    return None


def _xz(file: Any) -> Any:
    import lzma

    return lzma.LZMAFile(file)


def _zstd(file: Any) -> Any:
    import zstandard

    # 2 GiB of window, what `zstd --ultra --long=31` may ask for.
    return zstandard.ZstdDecompressor(max_window_size=1 << 31).stream_reader(file, read_across_frames=True)


def _gzip(file: Any) -> Any:
    import gzip

    return gzip.GzipFile(fileobj=file, mode="rb")


def _bzip2(file: Any) -> Any:
    import bz2

    return bz2.BZ2File(file)


_KINDS: Final[dict[bytes, Callable[[Any], Any]]] = {
    b"\xfd7zXZ\0": _xz,
    b"\x28\xb5\x2f\xfd": _zstd,
    b"\x1f\x8b": _gzip,
    b"BZh": _bzip2,
}


def _unpack(open_: Callable[[Any], Any], blocks: Iterator[bytes], source: str) -> Iterator[bytes]:
    packed = io.BufferedReader(_File(blocks), BLOCK)
    reader = open_(packed)
    while block := _read(reader, source):
        yield block
    # What follows the end, such as padding, belongs to the file.
    while packed.read(BLOCK):
        pass


def _read(reader: Any, source: str) -> bytes:
    try:
        block: bytes = reader.read(BLOCK)
    except _errors() as error:
        raise TemplateError(
            f"{source} can't be unpacked: it is damaged or cut off", details=str(error), hint="fetch it again later"
        ) from None
    return block


def _errors() -> tuple[type[Exception], ...]:
    import lzma

    import zstandard

    return EOFError, OSError, zlib.error, lzma.LZMAError, zstandard.ZstdError


class _File(io.RawIOBase):
    """Blocks as a file."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(next(self._blocks, b""))
        number = min(len(buffer), len(self._rest))
        buffer[:number] = self._rest[:number]
        self._rest = self._rest[number:]
        return number
