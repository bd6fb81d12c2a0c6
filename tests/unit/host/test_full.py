"""A full disk is told by the number of an error, or by the words of whoever met it."""

from __future__ import annotations

import errno
import os

import pytest

from lago.host.full import says_full


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_the_system_says_it_by_number(number: int) -> None:
    assert says_full(OSError(number, "told in another language"))
    assert says_full(f"mke2fs: {os.strerror(number)} while writing")


@pytest.mark.parametrize(
    "said",
    [
        "qemu-img: error while writing at byte 0: No space left on device",
        "tar: a: Wrote only 4096 of 10240 bytes",
        RuntimeError("internal error: write: No space left on device"),
    ],
)
def test_programs_say_it_in_words(said: str | Exception) -> None:
    assert says_full(said)


@pytest.mark.parametrize("said", ["", "tar: a: Cannot open: Permission denied", OSError(errno.EACCES, "no")])
def test_other_failures_are_not_for_want_of_space(said: str | Exception) -> None:
    assert not says_full(said)
