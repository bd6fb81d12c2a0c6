"""Tar archives that strangers made: where the files in them are, for little memory, whatever the archive says.

Headers are those of POSIX ustar and pax, with long names and large numbers as GNU writes them.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import IO, Final, NamedTuple

_BLOCK: Final = 512
_MOST_OF_NAMES: Final = 1 << 16
"""Bytes of what is said of one member before it, such as a name that is longer than a header has room for."""

_SUM: Final = slice(148, 156)
_FILES: Final = (b"0", b"\0", b"7")
_LONG_NAME, _LONG_LINK, _MORE, _MORE_OF_ALL, _SPARSE = b"L", b"K", b"x", b"g", b"S"


class Member(NamedTuple):
    """A plain file in an archive: its name as it stands there, its bytes, and where in the archive they begin."""

    name: str
    size: int
    place: int


def files(archive: IO[bytes], most: int) -> Iterator[Member]:
    """Yield the plain files of an archive; what else is in it is passed over, and nothing but headers is read.

    Args:
        archive: a file with a position; it may be moved meanwhile.
        most: headers that it may have, which may be several for a member.

    Raises:
        ValueError: it is no archive, is damaged, or has more of anything than an honest one; says what.
    """
    end, place, long_name, more = archive.seek(0, os.SEEK_END), 0, "", dict[str, str]()
    for count in range(most + 1):
        archive.seek(place)
        head = archive.read(_BLOCK)
        if not head.strip(b"\0"):
            if place:
                return
            raise ValueError("it is empty")
        if count == most:
            raise ValueError(f"it has more than {most} members")
        size, kind = _checked(head), head[156:157]
        content = place + _BLOCK
        if kind in (_LONG_NAME, _MORE):
            if size > _MOST_OF_NAMES:
                raise ValueError(f"the name of a member has {size} bytes, more than {_MOST_OF_NAMES}")
            said = archive.read(size)
            long_name, more = (_text(said.rstrip(b"\0")), more) if kind == _LONG_NAME else (long_name, _records(said))
        elif kind == _SPARSE:
            raise ValueError("it has files with holes")
        elif kind not in (_LONG_LINK, _MORE_OF_ALL):
            size = _number(more["size"]) if "size" in more else size
            if kind in _FILES and not any(key.startswith("GNU.sparse.") for key in more):
                if content + size > end:
                    raise ValueError("it is cut off")
                yield Member(more.get("path") or long_name or _name(head), size, content)
            long_name, more = "", {}
        place = content + -(-size // _BLOCK) * _BLOCK


def _checked(head: bytes) -> int:
    """The size that a header says. Raises ValueError if it is none."""
    if len(head) < _BLOCK:
        raise ValueError("it is cut off")
    told = _octal(head[_SUM])
    # The sum is made with spaces in its own place.
    if sum(head) - sum(head[_SUM]) + 8 * ord(" ") != told:
        raise ValueError("a header is damaged")
    if head[124] & 0x80:
        return int.from_bytes(head[125:136])
    return _octal(head[124:136])


def _octal(field: bytes) -> int:
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise ValueError("a header is damaged")
    return int(digits or b"0", 8)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 20:
        raise ValueError("a size is no number")
    return int(text)


def _name(head: bytes) -> str:
    name, prefix = (_text(part.partition(b"\0")[0]) for part in struct.unpack_from("100s245x155s", head))
    return f"{prefix}/{name}" if prefix and head[257:263] == b"ustar\0" else name


def _text(said: bytes) -> str:
    return said.decode(errors="surrogateescape")


def _records(said: bytes) -> dict[str, str]:
    """What a pax header says: records of a length in digits, a space, a key, `=`, a value and the end of a line."""
    found = {}
    while said:
        length, _, rest = said.partition(b" ")
        whole = int(length) if length.isdigit() and len(length) < 8 else 0
        record = rest[: whole - len(length) - 1]
        if not len(length) + 3 < whole <= len(said) or not record.endswith(b"\n") or b"=" not in record:
            raise ValueError("a header is damaged")
        key, _, value = record[:-1].partition(b"=")
        found[_text(key)] = _text(value)
        said = said[whole:]
    return found
