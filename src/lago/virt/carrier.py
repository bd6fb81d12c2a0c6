"""A small image with a saved state in it, from which a QEMU that runs can load that (`snapshot-load`).

QEMU takes a migration stream only from another QEMU, when it has just been started. A snapshot inside of a qcow2 image
it loads at any time, and what stands there is a migration stream as well. The image has no contents besides.
https://www.qemu.org/docs/master/interop/qcow2.html
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from typing import Final

TAG: Final = "lago"
"""Name of the snapshot."""

_CLUSTER_BITS: Final = 16
_CLUSTER: Final = 1 << _CLUSTER_BITS
_SIZE: Final = 1 << 20
"""Of the disk that it would be. The state comes behind it, where the next table of the second level begins."""

MOST: Final = _CLUSTER // 8 * _CLUSTER // 2
"""Bytes of a state that are possible: one table of each kind must do."""

_REFERENCES, _COUNTS, _LEVEL_1, _SAVED_LEVEL_1, _SNAPSHOTS, _LEVEL_2, _STATE = range(1, 8)
"""The clusters, after that of the header."""

_TABLES: Final = 2
"""Entries of a table of the first level."""


@contextlib.contextmanager
def writing(path: str) -> Iterator[int]:
    """Context manager: an image is made; yields a descriptor, and what is written to it is the stream.

    Raises:
        OSError: it can't be written.
        ValueError: the stream is too long.
    """
    with open(path, "wb", buffering=0) as image:
        file = image.fileno()
        image.seek(_STATE * _CLUSTER)
        yield file
        length = image.tell() - _STATE * _CLUSTER
        if length > MOST:
            raise ValueError(f"a state of {length} bytes is too long")
        clusters = -(-length // _CLUSTER)
        image.truncate((_STATE + clusters) * _CLUSTER)
        for cluster, content in (
            (0, _header()),
            (_REFERENCES, struct.pack(">Q", _COUNTS * _CLUSTER)),
            (_COUNTS, struct.pack(">H", 1) * (_STATE + clusters)),
            (_SAVED_LEVEL_1, struct.pack(">QQ", 0, _LEVEL_2 * _CLUSTER)),
            (_SNAPSHOTS, _snapshot(length)),
            (_LEVEL_2, struct.pack(f">{clusters}Q", *((_STATE + number) * _CLUSTER for number in range(clusters)))),
        ):
            os.pwrite(file, content, cluster * _CLUSTER)


def _header() -> bytes:
    version, backing, encryption, sixteen_bits = 3, (0, 0), 0, 4
    tables = (_TABLES, _LEVEL_1 * _CLUSTER, _REFERENCES * _CLUSTER, 1)
    snapshots = (1, _SNAPSHOTS * _CLUSTER)
    features = (0, 0, 0)
    form = ">4sIQIIQIIQQIIQQQQII"
    disk = (_CLUSTER_BITS, _SIZE, encryption)
    end = (sixteen_bits, struct.calcsize(form))
    return struct.pack(form, b"QFI\xfb", version, *backing, *disk, *tables, *snapshots, *features, *end)


def _snapshot(length: int) -> bytes:
    identity, name = b"1", TAG.encode()
    table = (_SAVED_LEVEL_1 * _CLUSTER, _TABLES)
    more = struct.pack(">QQ", length, _SIZE)
    seconds, parts, machine_time = 0, 0, 0
    fixed = (*table, len(identity), len(name), seconds, parts, machine_time, length, len(more))
    text = struct.pack(">QIHHIIQII", *fixed) + more + identity + name
    return text.ljust(-(-len(text) // 8) * 8, b"\0")
