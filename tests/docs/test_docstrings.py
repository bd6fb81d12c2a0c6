"""The form that docstrings get for Sphinx."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from reference_pages.docstrings import to_rst
from reference_pages.modules import NAMES, documented


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


def _sources(module: ModuleType) -> Iterator[str]:
    """Files with docstrings of a page: that of the module, and those of what it offers from elsewhere."""
    offered = [module, *(getattr(module, name) for name in getattr(module, "__all__", ()))]
    for one in offered:
        for part in inspect.getmro(one) if inspect.isclass(one) else [one]:
            home = part.__name__ if inspect.ismodule(part) else getattr(part, "__module__", None) or ""
            if home.partition(".")[0] in ("lago", "ovirtlago"):
                yield str(importlib.import_module(home).__file__)


def _docstrings() -> Iterator[tuple[str, str]]:
    """Each string that stands alone in a file of the published modules, with its place."""
    for path in sorted({path for name in documented() for path in _sources(importlib.import_module(name))}):
        for node in ast.walk(ast.parse(Path(path).read_text())):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                yield f"{path}:{node.lineno}", node.value.value


def _is_published(name: str) -> bool:
    module = max((one for one in NAMES if f"{name}.".startswith(f"{one}.")), key=len, default=None)
    found: Any = module and importlib.import_module(module)
    for part in name.removeprefix(module or "").split(".")[1:]:
        found = getattr(found, part, None)
        if inspect.ismodule(found):
            return False
    return found is not None


def test_docstrings_of_the_manual_send_nobody_to_what_is_not_in_it() -> None:
    sent = [
        f"{place}: {name}"
        for place, text in _docstrings()
        for name in re.findall(r"\b[Ss]ee\s+`((?:lago|ovirtlago)\.[\w.]*\w)", text)
        if not _is_published(name)
    ]
    assert not sent, "say it there, or publish the module:\n" + "\n".join(sent)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("lago.Prefix.start", True),
        ("lago.utils", True),
        ("lago.virt.console.interact", False),
        ("lago.host.trust", False),
        ("lago.utils.gone", False),
    ],
)
def test_what_is_published(name: str, published: bool) -> None:
    assert _is_published(name) is published
