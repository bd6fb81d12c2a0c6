"""Options of the command line and their defaults in ini files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

KEEP: Final = ("never", "failed", "always")
SCOPES: Final = ("session", "package", "module", "class", "function")

_OPTIONS: Final = {
    "init-file": ("PATH", "LagoInitFile", "init file of the fixture lago_env"),
    "workdir": ("DIR", ".lago-pytest", "directory to make environments in"),
    "keep": ("|".join(KEEP), "never", "which environments stay: of failed tests, all, or none"),
    "collect": ("DIR", "", "where to put logs and artifacts of machines of failed tests"),
    "scope": ("SCOPE", "session", f"which tests share lago_env: {', '.join(SCOPES)}"),
    "memory": ("MIB", "", "memory for environments of all workers together (default: most of what is available)"),
}


def add(parser: pytest.Parser) -> None:
    """Add the options, each with a setting of the same name for ini files."""
    group = parser.getgroup("lago", "environments of virtual machines")
    for name, (metavar, default, help_) in _OPTIONS.items():
        group.addoption(f"--lago-{name}", metavar=metavar, help=help_)
        parser.addini(f"lago_{name.replace('-', '_')}", f"{help_} (default: {default or 'none'})", default=default)


def _get(config: pytest.Config, name: str) -> tuple[str, Path]:
    """The value of an option, and the directory that a relative path in it begins at."""
    name = f"lago_{name}"
    if (given := config.getoption(name)) is not None:
        return given, config.invocation_params.dir
    return config.getini(name), config.rootpath


def _path(config: pytest.Config, name: str) -> Path:
    value, start = _get(config, name)
    return start / value


def _choice(config: pytest.Config, name: str, choices: tuple[str, ...]) -> str:
    value, _ = _get(config, name)
    if value not in choices:
        raise pytest.UsageError(f"lago_{name} is {value!r}, not one of {', '.join(choices)}")
    return value


def scope(fixture_name: str, config: pytest.Config) -> Any:  # noqa: ARG001 - pytest's signature
    """The scope of `lago_env`."""
    return _choice(config, "scope", SCOPES)


def init_file(config: pytest.Config) -> Path:
    """The init file."""
    return _path(config, "init_file")


def workdir(config: pytest.Config) -> Path:
    """Where environments are made."""
    return _path(config, "workdir")


def keep(config: pytest.Config) -> str:
    """Which environments stay."""
    return _choice(config, "keep", KEEP)


def collect(config: pytest.Config) -> Path | None:
    """Where to put what failed tests leave."""
    return _path(config, "collect") if _get(config, "collect")[0] else None


def memory(config: pytest.Config) -> int | None:
    """MiB for environments, if that is limited."""
    value, _ = _get(config, "memory")
    if value and not (value.isascii() and value.isdigit()):
        raise pytest.UsageError(f"lago_memory is {value!r}, not a number of MiB")
    return int(value) if value else None
