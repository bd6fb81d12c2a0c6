"""The parser of the command line: one module knows what is private to argparse, one table has the choices."""

from __future__ import annotations

import argparse
import ast
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago import config
from lago.cli.main import build_parser
from lago.cli.parser import actions

from ..conftest import Lago

REPOSITORY = Path(__file__).parents[3]
ONLY = REPOSITORY / "src" / "lago" / "cli" / "parser.py"


def private() -> set[str]:
    """The names in argparse, and of what it makes, that are nobody else's."""
    parser = argparse.ArgumentParser()
    makes = (parser, parser.add_subparsers(), argparse.HelpFormatter("x"), argparse.Namespace())
    names = {*vars(argparse), *(name for one in makes for name in dir(one))}
    # The parser marks words that nothing took with a name that is none of an object.
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def uses(path: Path, names: set[str]) -> Iterator[str]:
    """Where a module uses such a name of something that is not itself."""
    for node in ast.walk(ast.parse(path.read_text())):
        own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        if isinstance(node, ast.Attribute) and node.attr in names and not own:
            yield f"{path.relative_to(REPOSITORY)}:{node.lineno}: {ast.unparse(node)}"
        if isinstance(node, ast.ImportFrom) and node.module == "argparse":
            yield from (f"{path}:{node.lineno}: {one.name}" for one in node.names if one.name in names)


def test_one_module_alone_knows_what_is_private_to_argparse() -> None:
    places = (REPOSITORY / "src", REPOSITORY / "docs" / "_ext", REPOSITORY / "tests" / "docs")
    files = [path for place in places for path in place.rglob("*.py") if path != ONLY]
    assert not [use for path in files if "argparse" in path.read_text() for use in uses(path, private())]
    assert list(uses(ONLY, private())), "the test finds them where they are"


@pytest.mark.parametrize("name", [name for name, option in config.OPTIONS.items() if option.choices])
def test_a_choice_of_the_configuration_is_one_of_the_command_line(
    lago: Lago, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    choices = config.OPTIONS[name].choices
    [action] = [one for one in actions(build_parser()[0]) if one.dest == name]
    assert action.choices == choices
    for choice in choices:
        monkeypatch.setenv(f"LAGO_{name.upper()}", choice)
        assert config.get(name) == choice
    monkeypatch.setenv(f"LAGO_{name.upper()}", "another")
    told = f"expected one of {', '.join(choices)}"
    assert told in lago.both("list", code=2)[1]


def test_settings_with_few_values_are_these() -> None:
    assert {name: option.choices for name, option in config.OPTIONS.items() if option.choices} == {
        "loglevel": ("info", "debug", "error", "warning"),
        "accel": ("auto", "kvm", "tcg"),
        "confine": ("auto", "yes", "no"),
        "egress": ("auto", "slirp4netns", "pasta", "none"),
    }


def told(columns: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lines of `lago shutdown --help` on a terminal of so many columns."""
    monkeypatch.delenv("COLUMNS", raising=False)
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
        argv = [sys.executable, "-m", "lago", "shutdown", "--help"]
        # The C library's environment, which is inherited otherwise, may have COLUMNS of a readline in this process.
        environment = dict(os.environ)
        with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
            os.close(theirs)
            said = b""
            while part := _read(ours):
                said += part
        assert process.returncode == 0
    finally:
        os.close(ours)
    return said.decode().splitlines()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:
        # How Linux says that nobody has the other end open any more.
        return b""


@pytest.mark.programs
def test_help_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow, wide = told(50, monkeypatch), told(150, monkeypatch)
    assert max(map(len, narrow)) <= 48
    assert 80 < max(map(len, wide)) <= 148


@pytest.mark.parametrize(("variable", "most"), [("60", 58), ("", 78), ("0", 78), ("wide", 78)])
def test_help_is_as_wide_as_columns_says_and_else_80(
    lago: Lago, monkeypatch: pytest.MonkeyPatch, variable: str, most: int
) -> None:
    monkeypatch.setenv("COLUMNS", variable)
    widest = max(map(len, lago("shutdown", "--help").splitlines()))
    assert most - 15 < widest <= most
