"""The manual and the man pages, each built once."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from lago import plugins
from lago.cli.main import build_parser

from ..users import REPOSITORY


def commands() -> dict[str, argparse.ArgumentParser]:
    """The commands of this package by name, two for some."""
    foreign = {entry.name for entry in plugins.entries(plugins.CLI) if entry.package != "lago"}
    return {name: parser for name, parser in build_parser(None)[1].choices.items() if name not in foreign}


def _sphinx(builder: str, source: str, place: Path) -> Path:
    made = place / builder
    options = ["-W", "--keep-going", "-q", "-j", "auto", "-d", str(place / "doctrees"), "-b", builder]
    argv = [sys.executable, "-m", "sphinx", *options, str(REPOSITORY / source), str(made)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.fixture(scope="session")
def manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the manual's pages; there was no warning."""
    return _sphinx("html", "docs", tmp_path_factory.mktemp("manual"))


@pytest.fixture(scope="session")
def man_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the man pages."""
    return _sphinx("man", "docs/man", tmp_path_factory.mktemp("man"))
