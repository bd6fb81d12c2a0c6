"""A page for each module that Python programs may use."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from sphinx.application import Sphinx

NAMES = (
    "lago",
    "lago.brctl",
    "lago.config",
    "lago.constants",
    "lago.dirlock",
    "lago.errors",
    "lago.paths",
    "lago.plugins",
    "lago.plugins.cli",
    "lago.plugins.contracts",
    "lago.plugins.output",
    "lago.sdk",
    "lago.services",
    "lago.subnet_lease",
    "lago.sysprep",
    "lago.templates",
    "lago.utils",
    "lago.virt",
    "ovirtlago",
    "ovirtlago.constants",
    "ovirtlago.errors",
    "ovirtlago.merge_repos",
    "ovirtlago.paths",
    "ovirtlago.prefix",
    "ovirtlago.repoverify",
    "ovirtlago.testlib",
    "ovirtlago.utils",
    "ovirtlago.virt",
)
"""The modules that programs and plugins may use; what else there is may change at any time."""

_INHERITED = {"lago.virt": "ABC,int,Enum"}
"""Modules whose classes have part of what they offer from classes that stand elsewhere; up to which ones."""


def documented() -> list[str]:
    """Those that are there."""
    packages = {package for package in ("lago", "ovirtlago") if importlib.util.find_spec(package)}
    return [name for name in NAMES if name.partition(".")[0] in packages and importlib.util.find_spec(name)]


def write(app: Sphinx) -> None:
    """Write the pages to `api/`, and remove those of modules that are gone."""
    directory = Path(app.srcdir) / "api"
    pages = {directory / f"{name}.rst": _page(name) for name in documented()}
    for path, text in pages.items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    for path in set(directory.glob("*.rst")) - set(pages):
        path.unlink()


def _page(name: str) -> str:
    inherited = f"   :inherited-members: {_INHERITED[name]}\n" if name in _INHERITED else ""
    return f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n   :members:\n{inherited}   :show-inheritance:\n"
