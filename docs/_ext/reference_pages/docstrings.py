"""Docstrings are Markdown in some things: indented blocks and drawn trees are code, lines between bars are a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def to_rst(_app: Any, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """Called by autodoc: give a docstring the form that Sphinx reads."""
    # Python itself says of fields of named tuples only which they are.
    lines[:] = [] if lines and lines[0].startswith("Alias for field number") else _code(_tables(_trees(lines)))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _code(lines: Sequence[str]) -> list[str]:
    """Mark blocks that are indented after an empty line; what sections such as `Args:` have follows them at once."""
    made: list[str] = []
    depth, block = 0, None
    for number, line in enumerate(lines):
        if line.strip() and (block is None or _indent(line) < block):
            after_gap = number == 0 or not lines[number - 1].strip()
            block = _indent(line) if after_gap and _indent(line) >= depth + 4 else None
            if block is None:
                depth = _indent(line)
            elif not _is_marked(made):
                made += [" " * depth + "::", ""]
        made.append(line)
    return made


def _trees(lines: Sequence[str]) -> list[str]:
    """Indent trees that are drawn with lines, from which Python takes the indentation if nothing follows them."""
    paragraphs = [paragraph.splitlines() for paragraph in "\n".join(lines).split("\n\n")]
    made: list[str] = []
    for paragraph in paragraphs:
        is_tree = any(line.startswith(("├", "└")) for line in paragraph)
        made += ["", *(f"    {line}" if is_tree else line for line in paragraph)]
    return made[1:]


def _is_marked(before: Sequence[str]) -> bool:
    """Whether what comes before says already what an indented block is."""
    last = next((line.strip() for line in reversed(before) if line.strip()), "")
    return last.endswith("::")


def _tables(lines: Sequence[str]) -> list[str]:
    made: list[str] = []
    for number, line in enumerate(lines):
        if not line.startswith("|"):
            made.append(line)
        elif set(line) <= {"|", "-", " ", ":"}:
            continue
        else:
            if number == 0 or not lines[number - 1].startswith("|"):
                made += ["", ".. list-table::", "   :header-rows: 1", ""]
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            made += [f"{'     -' if place else '   * -'} {cell}" for place, cell in enumerate(cells)]
    return made
