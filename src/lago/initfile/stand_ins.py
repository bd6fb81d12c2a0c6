"""Init files that a program fills in before Lago reads them: `{{ name }}`, `{% if x %}`, `@NAME@`."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

# Each stops where another one begins, so that text with many beginnings and no end takes no longer.
_STATEMENT: Final = re.compile(r"\{%(?:[^\r\n%{]|%(?!\})|\{(?!%))*%\}|\{#(?:[^\r\n#{]|#(?!\})|\{(?!#))*#\}")
_EXPRESSION: Final = re.compile(r"\{\{(?:[^\r\n{}]|\}(?!\}))*\}\}|@[A-Za-z_][A-Za-z0-9_]*@")
_REST: Final = re.compile(r"[ \t]*(?=[\r\n]|\Z)")


class Hidden(NamedTuple):
    """Text with a stand-in of the same length, which is plain YAML, for each placeholder.

    Attributes:
        branches: there are statements, so that not all that is in the file need be in what is made of it.
    """

    text: str
    branches: bool


def hide(text: str) -> Hidden:
    """Put stand-ins into a text: a comment for statements that have the rest of a line, a word for all others."""
    statements = list(_STATEMENT.finditer(text))
    stand_ins, comment = {}, -1
    for found in reversed(statements):
        begin, end = found.span()
        last = _REST.match(text, end) or (comment >= 0 and not text[end:comment].strip(" \t"))
        comment = begin if last and text[max(begin - 1, 0)] in " \t\r\n{" else -1
        stand_ins[begin] = "#" if comment == begin else "x"
    text = _STATEMENT.sub(lambda found: stand_ins[found.start()] * len(found[0]), text)
    text = _EXPRESSION.sub(lambda found: "x" * len(found[0]), text)
    return Hidden(text, any(found[0].startswith("{%") for found in statements))
