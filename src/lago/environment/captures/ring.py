"""Files of a bounded size in a bounded number: what is newest has the name, `NAME.1.pcapng` is that before."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Final

from ...host.pump import write_all

SUFFIX: Final = ".pcapng"


def former(path: str, number: int) -> str:
    """Name of a file that was full, the `number`th before the one that is written to."""
    return f"{path.removesuffix(SUFFIX)}.{number}{SUFFIX}" if number else path


def files(path: str) -> list[str]:
    """The files of a ring that are there, oldest first."""
    directory, name = os.path.split(path)
    pattern = re.compile(re.escape(name.removesuffix(SUFFIX)) + r"(?:\.([0-9]{1,6}))?" + re.escape(SUFFIX))
    try:
        found = [(int(match[1] or 0), one) for one in os.listdir(directory) if (match := pattern.fullmatch(one))]
    except FileNotFoundError:
        return []
    return [os.path.join(directory, one) for _, one in sorted(found, reverse=True)]


class Ring:
    """Write blocks to files, each of which begins with `head` and is whole at any time.

    Args:
        path: of the one that is written to; it must not be there.
        most: bytes that a file may have; one that would have more becomes a former one.
        number: files that are kept, at least 1.

    Raises:
        OSError: it can't be made.
    """

    def __init__(self, path: str, head: bytes, most: int, number: int) -> None:
        self._path = path
        self._head = head
        self._most = most
        self._number = number
        self._fd = -1
        self._begin()

    def _begin(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = 0
        self._put(self._head)

    def _put(self, data: bytes) -> None:
        try:
            write_all(self._fd, data)
        except OSError:
            # Of what did not fit in nothing stays.
            os.ftruncate(self._fd, self._size)
            raise
        self._size += len(data)

    def write(self, blocks: Iterable[bytes]) -> None:
        """Write blocks; who reads the file at once has them. Raises OSError; the file is sound all the same."""
        waiting: list[bytes] = []
        size = 0
        for block in blocks:
            if self._size + size + len(block) > self._most and self._size + size > len(self._head):
                self._put(b"".join(waiting))
                self._turn()
                waiting, size = [], 0
            waiting.append(block)
            size += len(block)
        if waiting:
            self._put(b"".join(waiting))

    def _turn(self) -> None:
        """Let the file be a former one, and begin a new one; the oldest goes."""
        os.close(self._fd)
        self._fd = -1
        oldest = former(self._path, self._number - 1)
        if os.path.exists(oldest):
            os.unlink(oldest)
        for number in range(self._number - 1, 0, -1):
            if os.path.exists(former(self._path, number - 1)):
                os.rename(former(self._path, number - 1), former(self._path, number))
        self._begin()

    def close(self) -> None:
        """End it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
