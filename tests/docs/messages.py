"""The messages that a program's sources have: every text, with `...` for what is filled in."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_HOLE = "..."
_LEAST = 7
"""Letters that a text must have itself, so that not everything is one."""


class Messages:
    """The messages of all modules below a directory."""

    def __init__(self, sources: Path) -> None:
        self._texts = {text for path in sources.rglob("*.py") for text in _texts(ast.parse(path.read_text()))}

    def has(self, shown: str) -> bool:
        """Whether a message may read as `shown`, where `...` stands for anything.

        What is filled into one of them may be another one.
        """
        return any(_pattern(shown).fullmatch(text) or self._fits(shown, text) for text in self._texts)

    def _fits(self, shown: str, text: str) -> bool:
        match = _pattern(text).fullmatch(shown)
        return match is not None and all(filled == _HOLE or self.has(filled) for filled in match.groups())


def _texts(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        text = ""
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else _HOLE for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = re.sub(r"%[sdg]", _HOLE, node.value)
        if len(re.sub(r"[^A-Za-z]", "", text)) >= _LEAST:
            yield re.sub(r"(\.\.\.)+", _HOLE, text)


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile("(.+)".join(re.escape(part) for part in text.split(_HOLE)))
