"""The files of a journal: their names, and how they are opened whoever put something in their place."""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import Final

NAME: Final = "journal.jsonl"
"""What is written to now."""

PARTS: Final = 4
"""Files that the limit is shared by."""

LONGEST: Final = 64 << 10
"""Bytes that a line may have, with its end."""

_OLDER: Final = r"journal\.([1-9][0-9]{0,3})\.jsonl"


def current(prefix_dir: str) -> str:
    """Path of the file that is written to."""
    return os.path.join(prefix_dir, NAME)


def older(prefix_dir: str, number: int) -> str:
    """Path of a file that is not written to any more; 1 is the youngest."""
    return os.path.join(prefix_dir, f"journal.{number}.jsonl")


def numbers(prefix_dir: str) -> list[int]:
    """Numbers of the older files that there are, from the youngest on; none if the directory is gone."""
    try:
        names = os.listdir(prefix_dir)
    except OSError:
        return []
    return sorted(int(found[1]) for name in names if (found := re.fullmatch(_OLDER, name)))


def opened(path: str, flags: int) -> int:
    """Open a journal's file; nothing is waited for.

    Raises:
        OSError: it is not there, or can't be opened; or it is a link, a pipe or anything else but a file.
    """
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "is no file", path)
    return fd
