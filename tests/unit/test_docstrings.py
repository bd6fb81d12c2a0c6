"""First lines of docstrings: an act in the imperative, a value by a noun, a context manager by what holds meanwhile."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SOURCES = Path(__file__).parents[2] / "src"
STATEMENT = re.compile(
    r"(The|A|An|Whether|It|They|Nobody|Nothing|Whoever|What|Where|How|All|Every|Each|For|As|Until)\b"
)
"""How a line begins that tells what is, or what somebody wants, and not what the function does."""


class Function(NamedTuple):
    """A function that has a docstring, with its place and the first line."""

    place: str
    node: ast.FunctionDef
    line: str

    def decorated(self, word: str) -> bool:
        return any(word in ast.unparse(one) for one in self.node.decorator_list)


def functions() -> Iterator[Function]:
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and (text := ast.get_docstring(node)):
                yield Function(f"{path.relative_to(SOURCES)}:{node.lineno} {node.name}", node, text.splitlines()[0])


def test_context_managers_say_what_holds_meanwhile() -> None:
    found = [one for one in functions() if one.decorated("contextmanager")]
    assert len(found) > 30
    assert [one.place for one in found if not one.line.startswith("Context manager: ")] == []


def test_what_returns_nothing_says_what_it_does() -> None:
    found = [one for one in functions() if one.node.returns and ast.unparse(one.node.returns) in ("None", "NoReturn")]
    assert len(found) > 300
    assert [f"{one.place}: {one.line}" for one in found if STATEMENT.match(one.line)] == []


def test_nobody_is_left_to_guess_what_is_let_go() -> None:
    guesses = re.compile(r"(Let|Give|Put|Take) (it|them|us|that)\b(?! \w+ \w+ \w+)|Let go\b|Gives? back\b")
    assert [f"{one.place}: {one.line}" for one in functions() if guesses.match(one.line)] == []
