"""How values are spelled so that OpenSSH reads what is meant, in files (ssh_config(5)) and after `-o` alike."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence


def quote(path: str) -> str:
    """Spell a path as the value of an option that takes one, such as `IdentityFile` or `ControlPath`.

    In double quotes ssh takes all as it is but these, and a percent sign, which begins a token.
    """
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def command(argv: Sequence[str]) -> str:
    """Spell a command as the value of `ProxyCommand`, which is the rest of the line, for the user's shell.

    ssh leaves its quotes alone, but looks whether they are in pairs, by rules of its own.
    """
    return " ".join(map(_word, argv)).replace("%", "%%")


def _word(word: str) -> str:
    """Quote a word for a shell so that ssh finds pairs too: to ssh a backslash keeps its meaning in single quotes."""
    if "\\" not in word:
        return shlex.quote(word)
    return '"{}"'.format(re.sub(r'([\\"$`])', r"\\\1", word))
