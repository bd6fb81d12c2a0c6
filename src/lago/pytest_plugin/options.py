"""Options of the command line and their defaults in ini files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

KEEP: Final = ("never", "failed", "always")
REPORT: Final = ("failed", "always", "never")
SCOPES: Final = ("session", "package", "module", "class", "function")

_OPTIONS: Final = {
    "init-file": ("PATH", "LagoInitFile", "init file of the fixture lago_env"),
    "workdir": ("DIR", ".lago-pytest", "directory to make environments in; what killed runs left there is removed"),
    "keep": ("|".join(KEEP), "never", "which environments outlive their fixture: those of failed tests, or all"),
    "collect": ("DIR", "", "directory for logs and artifacts of all machines of failed tests, by test"),
    "report": (
        "|".join(REPORT),
        "failed",
        "of which tests a page is written that shows what happened in their environments",
    ),
    "report-dir": ("DIR", "lago-reports", "directory of these pages, by test; console logs are beside them"),
    "scope": ("SCOPE", "session", f"which tests share lago_env: {', '.join(SCOPES)}"),
    "memory": ("MIB", "", "MiB of memory for environments of all workers together, which wait for each other"),
}
_OTHERWISE: Final = {"collect": "nothing is collected", "memory": "90 % of what is available"}
"""What holds without an option that has no default."""

_CAPSULE: Final = "keep the environments of each failed test at the instant of its failure; lago capsule opens them"


def add(parser: pytest.Parser) -> None:
    """Add the options, each with a setting of the same name for ini files."""
    group = parser.getgroup("lago", "environments of virtual machines")
    for name, (metavar, default, said) in _OPTIONS.items():
        setting = f"lago_{name.replace('-', '_')}"
        otherwise = default or _OTHERWISE[name]
        # Of the command line, argparse fills in what stands behind a per cent sign.
        text = f"{said} (default: the setting {setting}, or else {otherwise})".replace("%", "%%")
        group.addoption(f"--lago-{name}", metavar=metavar, help=text)
        parser.addini(setting, f"{said} (default: {otherwise})", default=default)
    group.addoption(
        "--lago-capsule", action="store_true", help=f"{_CAPSULE} (default: the setting lago_capsule, or not)"
    )
    parser.addini("lago_capsule", f"{_CAPSULE} (default: false)", type="bool", default=False)
    said = "capture the packets of all nets during each test, and keep those of failed ones"
    text = f"{said} (default: the setting lago_capture)"
    group.addoption("--lago-capture", action="store_const", const=True, help=text)
    parser.addini("lago_capture", f"{said} (default: false)", type="bool", default=False)


def _get(config: pytest.Config, name: str) -> tuple[str, Path]:
    """Value of an option, and the directory that a relative path in it begins at."""
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
    """Scope of `lago_env`: the option `--lago-scope`."""
    return _choice(config, "scope", SCOPES)


def init_file(config: pytest.Config) -> Path:
    """Path of the init file: the option `--lago-init-file`."""
    return _path(config, "init_file")


def workdir(config: pytest.Config) -> Path:
    """Path of the directory that environments are made in: the option `--lago-workdir`."""
    return _path(config, "workdir")


def keep(config: pytest.Config) -> str:
    """Word for which environments stay, one of KEEP: the option `--lago-keep`."""
    return _choice(config, "keep", KEEP)


def report(config: pytest.Config) -> str:
    """Word for which tests have a page, one of REPORT: the option `--lago-report`."""
    return _choice(config, "report", REPORT)


def report_dir(config: pytest.Config) -> Path:
    """Path of the directory of pages: the option `--lago-report-dir`."""
    return _path(config, "report_dir")


def collect(config: pytest.Config) -> Path | None:
    """Directory for what failed tests leave, if there is to be one: the option `--lago-collect`."""
    return _path(config, "collect") if _get(config, "collect")[0] else None


def capture(config: pytest.Config) -> bool:
    """Whether packets are captured: the option `--lago-capture`."""
    given = config.getoption("lago_capture")
    return bool(config.getini("lago_capture") if given is None else given)


def kept(config: pytest.Config) -> Path:
    """Directory for what is kept of failed tests even if nothing is collected: that of `collect`, or one beside."""
    return collect(config) or workdir(config) / "failed"


def memory(config: pytest.Config) -> int | None:
    """MiB for environments of all workers together, if that is limited: the option `--lago-memory`."""
    value, _ = _get(config, "memory")
    if value and not (value.isascii() and value.isdigit()):
        raise pytest.UsageError(f"lago_memory is {value!r}, not a number of MiB")
    return int(value) if value else None


def capsule(config: pytest.Config) -> bool:
    """Whether the environments of failed tests are kept at that instant: the option `--lago-capsule`."""
    return bool(config.getoption("lago_capsule") or config.getini("lago_capsule"))
