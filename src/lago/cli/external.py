"""Commands that other programs add as those of the earliest releases did: `lagocli-WORD` on PATH is `lago WORD`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ..host.programs import which


def become(words: Sequence[str]) -> None:
    """Become the program that a command line means, which is no command of ours; return if it means none.

    It finds `LAGO_PROG_NAME` in its environment, by which it is to call itself in what it says of its use.

    Args:
        words: the command, and what comes after it.
    """
    word = words[0]
    # With a slash it would be looked for elsewhere.
    if "/" in word or (program := which(f"lagocli-{word}")) is None:
        return
    sys.stdout.flush()
    os.execve(program, [program, *words[1:]], {**os.environ, "LAGO_PROG_NAME": f"lagocli {word}"})  # noqa: S606
