"""How ovirtlago is made: no circle of imports, a contract between its parts, and what it takes of Lago."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import pytest

import ovirtlago
from ovirtlago.engine import contract
from ovirtlago.engine.machine import EngineVM
from ovirtlago.machines import TestVM

from ..unit.test_layers import FILES, imports
from ..users import REPOSITORY

if TYPE_CHECKING:
    from lago.virt import VirtEnv

    def environment(env: VirtEnv) -> contract.Environment:
        """Its type says it: any environment of Lago will do."""
        return env

    def machine(vm: TestVM) -> contract.Machine:
        """Its type says it: any machine of an oVirt environment will do."""
        return vm

    def engine(vm: EngineVM) -> contract.Engine:
        """Its type says it: the engine's machine offers all that is asked of an engine."""
        return vm


OURS = sorted(name for name in FILES if name.partition(".")[0] == "ovirtlago")
PUBLIC = re.compile(r'^    "(lago[\w.]*)",$', re.MULTILINE)
MANUAL = REPOSITORY / "docs" / "_ext" / "reference_pages" / "modules.py"


def table(heading: str) -> list[str]:
    """The first cells of a table of the package's docstring."""
    rows = (ovirtlago.__doc__ or "").partition(f"| {heading} |")[2].partition("\n\n")[0]
    return re.findall(r"^\| (`.*?) \|", rows, re.MULTILINE)


def test_no_module_needs_one_that_needs_it() -> None:
    graph = {name: {other for _, other in imports(name) if other in OURS and other != name} for name in OURS}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"each of these is imported by the next: {', '.join(error.args[1])}")


def test_what_is_not_the_engines_machine_itself_knows_the_contract_only() -> None:
    knows = {name for name in OURS for _, other in imports(name) if other == "ovirtlago.engine.machine"}
    assert knows == {"ovirtlago.virt"}


def test_the_modules_are_listed() -> None:
    named = {name for cell in table("module") for name in re.findall(r"`([\w.]+)`", cell)}
    packages = {name for name in OURS if FILES[name].name == "__init__.py"} - {"ovirtlago.cli"}
    there = {name.removeprefix("ovirtlago.") for name in OURS if name not in packages}
    assert named == {name for name in there if not name.startswith("cli.")}


def test_the_list_of_modules_is_from_the_top_down() -> None:
    rows = [[f"ovirtlago.{name}" for name in re.findall(r"`([\w.]+)`", cell)] for cell in table("module")]
    rank = {name: number for number, names in enumerate(rows) for name in names}
    assert not [
        f"{name} imports {other}" for name in rank for _, other in imports(name) if rank.get(other, 99) < rank[name]
    ]


def taken() -> Iterator[tuple[str, str]]:
    """Module and name of all that we import of Lago, for types too."""
    for ours in OURS:
        for node in ast.walk(ast.parse(FILES[ours].read_text())):
            if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").partition(".")[0] == "lago":
                yield from ((str(node.module), alias.name) for alias in node.names)
            elif isinstance(node, ast.Import):
                yield from ((alias.name, "") for alias in node.names if alias.name.partition(".")[0] == "lago")


def test_what_is_taken_of_lago_beyond_its_manual_is_listed() -> None:
    manual = set(PUBLIC.findall(MANUAL.read_text()))
    assert {"lago", "lago.sdk", "lago.virt"} <= manual

    def published(module: str, name: str) -> bool:
        if module not in manual:
            return False
        return f"{module}.{name}" in manual or name in getattr(importlib.import_module(module), "__all__", [name])

    listed = {
        (f"lago.{module}", name)
        for cell in table("of `lago`")
        for module, names in re.findall(r"^`([\w.]+)`: (.*)", cell)
        for name in re.findall(r"\w+", names)
    }
    assert {(module, name) for module, name in taken() if not published(module, name)} == listed
