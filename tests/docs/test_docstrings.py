"""The form that docstrings get for Sphinx."""

from __future__ import annotations

import pytest
from reference_pages.docstrings import to_rst


def converted(text: str) -> str:
    lines = text.splitlines()
    to_rst(None, "module", "x", None, None, lines)
    return "\n".join(lines)


def test_a_table() -> None:
    table = converted("Kinds.\n\n| a | b |\n|---|---|\n| `x` | one |\n\nMore.")
    expected = "Kinds.\n\n\n.. list-table::\n   :header-rows: 1\n\n   * - a\n     - b\n   * - `x`\n     - one\n\nMore."
    assert table == expected


def test_a_block_of_code_with_an_empty_line_in_it() -> None:
    assert converted("Like this.\n\n    if x:\n\n        y\n\nMore.") == (
        "Like this.\n\n::\n\n    if x:\n\n        y\n\nMore."
    )


def test_a_tree_that_lost_its_indentation() -> None:
    assert converted("Errors.\n\nA\n└── B") == "Errors.\n\n::\n\n    A\n    └── B"


@pytest.mark.parametrize(
    "text",
    [
        "One line.",
        "Do it.\n\nArgs:\n    x: what\n        it is.\n\nRaises:\n    E: never.",
        "Such as::\n\n    code\n\nMore.",
    ],
)
def test_what_is_left_as_it_is(text: str) -> None:
    assert converted(text) == text


def test_what_python_says_of_fields_is_left_out() -> None:
    assert converted("Alias for field number 3") == ""
