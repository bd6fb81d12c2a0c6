"""Imports go downwards only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"

# From the top down. Modules of one line don't import each other; "lago" is the facade, lago/__init__.py.
LAYERS = """
    __main__
    ovirtlago
    cli pytest_plugin
    warm template_update
    sdk
    lago workdir
    prefix
    collect export population
    ansible appliances deploy graph holdings snapshots
    virt
    doctor
    bootstrap
    sysprep customize offline
    guestfs
    ssh_config
    hypervisor templates services transfer
    ova
    disks state ssh unpacking console_log forward brctl subnet_lease dirlock
    topology
    addressing
    spec schema
    sections
    rules prototypes
    disk_rules dns_rules readers
    names
    fields
    initfile
    yamltext
    plugins
    fetch _tree
    utils
    _converse
    _channels
    _run _threads _inotify _locks trust
    log paths image_header ssh_option
    config
    constants errors
    printable
"""
RANK = {module: rank for rank, line in enumerate(LAYERS.strip().splitlines()) for module in line.split()}


def module_of(name: str) -> str:
    """The room of a dotted name: `lago.virt.domain_xml` -> `virt`."""
    first, _, rest = name.partition(".")
    return rest.split(".")[0] or first if first == "lago" else first


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything of ours that a file imports, inside functions too."""
    package = ".".join(path.relative_to(SRC).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: 1 - node.level or None] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            # `from lago import virt` is the room virt; `from lago import Prefix` is the facade.
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "lago" else [base]
            yield from ((node.lineno, name if module_of(name) in RANK else base) for name in names)


def files() -> list[Path]:
    return sorted(SRC.glob("lago/**/*.py")) + sorted(SRC.glob("ovirtlago/**/*.py"))


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SRC)))
def test_a_module_imports_only_from_layers_below(path: Path) -> None:
    name = ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")
    here = module_of(name)
    assert here in RANK, f"{name} has no layer: give it a place in LAYERS"
    wrong = [
        f"{path.relative_to(SRC)}:{line} imports {imported}, which is not below {here}"
        for line, imported in imports(path)
        if imported.partition(".")[0] in ("lago", "ovirtlago")
        and module_of(imported) != here
        and RANK.get(module_of(imported), -1) <= RANK[here]
    ]
    assert not wrong, "\n".join(wrong)
