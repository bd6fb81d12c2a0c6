"""A small ISO 9660 image with Rock Ridge names: a handful of files in its root directory.

Always the same bytes for the same files; and a library for it would take longer to import than everything else that
making an environment does.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

_SECTOR = 2048
_PATH_TABLES = (18, 19)
_ROOT = 20
_FIRST_FILE = 21
# 14 November 2023, in the short form of directories and the long one of volume descriptors.
_DATE = bytes([123, 11, 14, 22, 13, 20, 0])
_LONG_DATE = b"2023111422132000\0"
_NO_DATE = b"0" * 16 + b"\0"


def image(label: str, files: Mapping[str, bytes]) -> bytes:
    """An image with the volume label `label` and these files.

    Args:
        files: content by name. The names are short, and together they fit into one sector.
    """
    records = [_record(b"\0", _ROOT, _SECTOR, _SP + _px(0o40555) + _ER, directory=True)]
    records.append(_record(b"\1", _ROOT, _SECTOR, _px(0o40555), directory=True))
    contents = []
    sector = _FIRST_FILE
    for number, (name, data) in enumerate(sorted(files.items())):
        plain = f"FILE{number}.;1".encode()
        records.append(_record(plain, sector, len(data), _px(0o100444) + _nm(name)))
        contents.append(_fill(data))
        sector += len(contents[-1]) // _SECTOR
    root = b"".join(records)
    if len(root) > _SECTOR:
        raise ValueError("too many files for a small image")
    little = struct.pack("<BBIH", 1, 0, _ROOT, 1) + b"\0\0"
    big = struct.pack(">BBIH", 1, 0, _ROOT, 1) + b"\0\0"
    sectors = [_volume(label, sector), b"\xffCD001\1", little, big, root]
    return b"\0" * 16 * _SECTOR + b"".join(_fill(s) for s in sectors) + b"".join(contents)


def _volume(label: str, sectors: int) -> bytes:
    return b"".join(
        (
            b"\1CD001\1\0",
            b" " * 32,
            label.encode().ljust(32),
            b"\0" * 8,
            _both(sectors, "I"),
            b"\0" * 32,
            _both(1, "H") * 2,
            _both(_SECTOR, "H"),
            _both(10, "I"),
            struct.pack("<II", _PATH_TABLES[0], 0),
            struct.pack(">II", _PATH_TABLES[1], 0),
            _record(b"\0", _ROOT, _SECTOR, directory=True),
            b" " * (4 * 128 + 3 * 37),
            _LONG_DATE * 2,
            _NO_DATE * 2,
            b"\1\0",
        )
    )


def _record(name: bytes, sector: int, length: int, system_use: bytes = b"", directory: bool = False) -> bytes:
    fixed = _both(sector, "I") + _both(length, "I") + _DATE + bytes([2 if directory else 0, 0, 0]) + _both(1, "H")
    body = b"\0" + fixed + bytes([len(name)]) + name
    # The name field ends, and with the length byte in front the record too, on an even number.
    body += b"\0" * ((len(body) + 1) % 2) + system_use
    body += b"\0" * ((len(body) + 1) % 2)
    return bytes([len(body) + 1]) + body


# The entries that say "this is Rock Ridge", in the record of the root directory.
_SP = b"SP\x07\1\xbe\xef\0"
_ER = b"ER\x12\1\x0a\0\0\1RRIP_1991A"


def _px(mode: int) -> bytes:
    links = 2 if mode & 0o40000 else 1
    return b"PX\x24\1" + _both(mode, "I") + _both(links, "I") + _both(0, "I") + _both(0, "I")


def _nm(name: str) -> bytes:
    raw = name.encode()
    return b"NM" + bytes([5 + len(raw), 1, 0]) + raw


def _both(number: int, kind: str) -> bytes:
    return struct.pack(f"<{kind}", number) + struct.pack(f">{kind}", number)


def _fill(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _SECTOR)
