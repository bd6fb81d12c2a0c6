"""What Lago asks of other projects: few Python packages, each for a reason that is written down."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads(REPOSITORY.joinpath("pyproject.toml").read_text())["project"]
DISTRIBUTIONS = {
    "argcomplete": ("python3-argcomplete", "python3-argcomplete"),
    "libvirt-python": ("python3-libvirt", "python3-libvirt"),
    "PyYAML": ("python3-yaml", "python3-pyyaml"),
    "rich": ("python3-rich", "python3-rich"),
    "zstandard": ("python3-zstandard", "python3-zstandard"),
}
"""What Debian and Fedora call them."""
ELSEWHERE = {"guestfs", "pytest"}
"""Imported where they are there: by the system's own Python, and by pytest itself."""


def names(requirements: list[str]) -> set[str]:
    """The names of packages, without versions."""
    return {re.split(r"[^\w-]", one)[0] for one in requirements}


def imported(tree: ast.AST) -> Iterator[str]:
    """The top-level modules that a module imports when it runs, in functions too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
        yield from imported(node)


def test_each_package_that_lago_needs_has_its_reason_in_the_architecture() -> None:
    text = REPOSITORY.joinpath("docs", "architecture.md").read_text()
    section = text.partition("## What Lago stands on\n")[2].partition("\n## ")[0]
    reasons = dict(re.findall(r"^\| `([\w-]+)` \| (.+) \|$", section, re.MULTILINE))
    assert set(reasons) == names(PROJECT["dependencies"])
    assert len(reasons) == 5


def test_lago_imports_what_it_asks_for_and_nothing_else() -> None:
    files = REPOSITORY.joinpath("src", "lago").rglob("*.py")
    modules = {name for path in files for name in imported(ast.parse(path.read_text()))}
    theirs = modules - sys.stdlib_module_names - ELSEWHERE - {"lago"}
    packages = metadata.packages_distributions()
    found = {package for module in theirs for package in packages.get(module, [f"nobody's {module}"])}
    assert found == names(PROJECT["dependencies"]) | (names(PROJECT["optional-dependencies"]["web"]) - {"websockets"})


def test_what_serves_the_page_comes_by_an_extra_and_is_there_for_tests() -> None:
    """`websockets` is what uvicorn speaks them with."""
    web = set(PROJECT["optional-dependencies"]["web"])
    assert names([*web]) == {"starlette", "uvicorn", "websockets"}
    assert web <= set(PROJECT["optional-dependencies"]["dev"])


def test_packages_of_distributions_ask_for_the_same() -> None:
    packaging = REPOSITORY / "packaging"
    control = packaging.joinpath("debian", "control.in").read_text().partition("Recommends:")[0]
    assert set(re.findall(r"\bpython3-[\w-]+", control)) == {DISTRIBUTIONS[one][0] for one in DISTRIBUTIONS}
    spec = re.findall(r"^Requires: +(python3-[\w-]+)", packaging.joinpath("lago.spec.in").read_text(), re.MULTILINE)
    assert set(spec) == {DISTRIBUTIONS[one][1] for one in DISTRIBUTIONS}
    assert set(DISTRIBUTIONS) == names(PROJECT["dependencies"])


def test_who_hands_channels_to_us_gets_paramiko_by_an_extra() -> None:
    assert names(PROJECT["optional-dependencies"]["paramiko"]) == {"paramiko"}
