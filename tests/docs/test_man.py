"""The man pages: sound to groff, complete, and with an example that works."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lago.initfile import document, parse
from lago.initfile.keys import DOMAIN, NET

from .conftest import commands


def shown(page: Path) -> str:
    """A page as a terminal shows it, without emphasis."""
    argv = ["groff", "-man", "-ww", "-Kutf8", "-Tutf8", "-P-cbou", "-rLL=200n", str(page)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert not done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def _groff() -> None:
    if not shutil.which("groff"):
        pytest.skip("groff is not there")


def test_the_page_of_lago_has_every_command(man_pages: Path) -> None:
    text = shown(man_pages / "lago.1")
    assert {name for name in commands() if f"lago {name}" not in text} == set()
    for title in ("NAME", "SYNOPSIS", "OPTIONS", "COMMANDS", "CONFIGURATION", "EXIT STATUS", "FILES", "SEE ALSO"):
        assert re.search(rf"^{title}$", text, re.MULTILINE), title


def test_the_page_of_init_files_has_every_key(man_pages: Path) -> None:
    text = shown(man_pages / "lago-initfile.5")
    missing = {key for key in (*DOMAIN.fields, *NET.fields) if not re.search(rf"^ +{key} \(", text, re.MULTILINE)}
    assert missing == set()


def test_the_example_is_an_init_file(man_pages: Path, tmp_path: Path) -> None:
    text = shown(man_pages / "lago-initfile.5")
    example = re.search(r"^EXAMPLE\n(.*?)^SEE ALSO", text, re.MULTILINE | re.DOTALL)
    assert example is not None
    (tmp_path / "LagoInitFile").write_text(example[1])
    assert set(parse.parse(document.read(str(tmp_path / "LagoInitFile"))).domains) == {"web", "db"}
