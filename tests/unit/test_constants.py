"""A name stands for one thing, and each of the variables that Lago reads or sets for paths is spelled once."""

from __future__ import annotations

import ast
from pathlib import Path

import lago.constants
import ovirtlago.constants

SRC = Path(__file__).parents[2] / "src"
VARIABLES = {
    name: value
    for module in (lago.constants, ovirtlago.constants)
    for name, value in vars(module).items()
    if name.endswith("_VARIABLE")
}


def assigned(tree: ast.Module) -> set[str]:
    """The names that a module gives values to."""
    targets: list[ast.expr] = [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    targets += [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def test_each_variable_has_one_name_in_a_module_of_constants() -> None:
    assert set(VARIABLES.values()) == {
        "LAGO_PREFIX_PATH",
        "LAGO_WORKDIR_PATH",
        "LAGO_INITFILE_PATH",
        "LAGO_PREFIX",
    }
    found = {path: assigned(ast.parse(path.read_text())) for path in SRC.rglob("*.py")}
    named = {str(path.relative_to(SRC)): names for path, all_ in found.items() if (names := all_ & set(VARIABLES))}
    assert named == {
        "lago/constants.py": {"PREFIX_PATH_VARIABLE", "WORKDIR_PATH_VARIABLE", "INITFILE_PATH_VARIABLE"},
        "ovirtlago/constants.py": {"PREFIX_VARIABLE"},
    }


def test_a_variable_is_spelled_nowhere_else() -> None:
    words = {value for name in VARIABLES.values() for value in (name, f"${name}", f"${name}/")}
    spelled = [
        f"{path.relative_to(SRC)}:{node.lineno}"
        for path in SRC.rglob("*.py")
        if path.name != "constants.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in words
    ]
    assert not spelled
