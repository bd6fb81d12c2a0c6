"""Whether it is for want of space that something failed."""

from __future__ import annotations

import errno
from typing import Final

_NUMBERS: Final = (errno.ENOSPC, errno.EDQUOT)
_SIGNS: Final = ("No space left", "Disk quota exceeded", "Wrote only")
"""The words of the C library for these, and of GNU tar."""


def says_full(said: str | BaseException) -> bool:
    """Whether a program, or an exception by its number or words, says that a disk or a quota is full."""
    return getattr(said, "errno", None) in _NUMBERS or any(sign in str(said) for sign in _SIGNS)
