"""Bytes passed on from one descriptor to another: of sockets, pipes and terminals that make us wait."""

from __future__ import annotations

import os
from typing import Final

_MOST: Final = 1 << 16


def pump(source: int, target: int) -> None:
    """Write what can be read from one descriptor to another, as it comes, until its end. Raises OSError."""
    while data := os.read(source, _MOST):
        write_all(target, data)


def write_all(fd: int, data: bytes) -> None:
    """Write all of it, however little fits in at a time. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
