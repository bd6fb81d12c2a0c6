"""Packages with plugins, installed by hand."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for packages, on the search path; those of Lago's own, of ovirtlago, are left out."""
    installed = importlib.metadata.distributions

    def others() -> list[importlib.metadata.Distribution]:
        return [one for one in installed() if one.metadata["Name"] != "lago"]

    monkeypatch.setattr(importlib.metadata, "distributions", others)
    path = tmp_path / "site"
    path.mkdir()
    monkeypatch.syspath_prepend(str(path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = set(sys.modules)
    yield path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def package(site: Path, name: str, entry_points: str, code: str) -> None:
    """Install a package by hand."""
    info = site / f"{name}-1.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    info.joinpath("entry_points.txt").write_text(entry_points)
    site.joinpath(f"{name}.py").write_text(code)
    importlib.invalidate_caches()
