"""Of each kind of test something runs without being asked for, and recorded durations are of modules that exist."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from ..users import REPOSITORY

SLOW = "pytest.mark.slow"
ALL_SLOW = {"test_storage", "test_etcd"}
"""Modules whose kind, services of Debian guests that are deployed, other modules have as well; and an example."""
MODULES = sorted(path for path in (REPOSITORY / "tests" / "vm").glob("test_*.py") if path.stem not in ALL_SLOW)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_of_each_module_with_guests_something_runs_always(path: Path) -> None:
    tree = ast.parse(path.read_text())
    tests = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    assert [test.name for test in tests if SLOW not in map(ast.unparse, test.decorator_list)]
    whole = [
        node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
    ]
    assert not [node for node in whole if SLOW in ast.unparse(node)]


def test_durations_are_those_of_modules_that_are_there() -> None:
    took = json.loads((REPOSITORY / "tests" / "durations.json").read_text())
    assert len(took) > 20
    assert not [module for module in took if not (REPOSITORY / module).is_file()]
