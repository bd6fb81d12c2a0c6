"""Placeholders of templates: signs that a file is to be rendered by another program before it is an init file."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

_VARIABLE: Final = "envsubst"

_OF: Final = {
    "Jinja": r"\{\{.{0,400}?\}\}|\{%.{0,400}?%\}|\{#.{0,400}?#\}",
    "Autoconf": r"@[A-Za-z_]\w*@",
    "sed": r"(?<![A-Za-z0-9_])__[A-Z0-9]+(?:_[A-Z0-9]+)*__(?![A-Za-z0-9_])",
    _VARIABLE: r"\$\{\w+\}",
}
"""What is replaced, by what does it."""

_ANY: Final = re.compile("|".join(f"({pattern})" for pattern in _OF.values()))
_TOOLS: Final = tuple(_OF)

_MOST: Final = 40
"""Characters of a placeholder that are told."""

Range = tuple[tuple[int, int], tuple[int, int]]
"""Line and column where something begins and ends, counted from 1."""


def told(text: str, *, variables: bool = False) -> str:
    """Say that there is a placeholder in a text; empty if there is none.

    Args:
        variables: such as `${NAME}` may stand there.
    """
    for found in _ANY.finditer(text):
        if not (variables and _tool(found) == _VARIABLE):
            return _message(found)
    return ""


def first(text: str, last_line: int, opaque: Sequence[Range]) -> tuple[int, int, str] | None:
    """Return line, column and message of the first placeholder of a file in YAML; None if there is none.

    Args:
        last_line: the last line to look at, counted from 1.
        opaque: what may hold anything, in the order of the file: text in quotes, or of several lines.
    """
    begins, ends = [begin for begin, _ in opaque], [end for _, end in opaque]
    for number, line in enumerate(text.splitlines()[:last_line], 1):
        comment = re.search(r"(^|\s)#", line)
        for found in _ANY.finditer(line):
            at = (number, found.start() + 1)
            before = bisect_right(begins, at)
            hidden = before > 0 and at < ends[before - 1]
            if not hidden and (comment is None or found.start() < comment.end()):
                return (*at, _message(found))
    return None


def _tool(found: re.Match[str]) -> str:
    return _TOOLS[(found.lastindex or 1) - 1]


def _cut(text: str) -> str:
    return text if len(text) <= _MOST else f"{text[:_MOST]}..."


def _message(found: re.Match[str]) -> str:
    return f"the file has placeholders such as {_cut(found[0])}, as of {_tool(found)}; render it first"
