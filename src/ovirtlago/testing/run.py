"""Runs of pytest against an environment, as `lago ovirt runtest` makes them."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final, NamedTuple
from xml.etree import ElementTree

from lago import LagoError
from lago.errors import HostError
from lago.host.programs import spawn
from lago.log import task
from lago.paths import Paths
from lago.utils import near

from ..constants import PREFIX_VARIABLE

_STDERR: Final = 2
_SUFFIX: Final = ".junit.xml"
# https://docs.pytest.org/en/stable/reference/exit-codes.html
_ALL_PASSED, _SOME_FAILED, _NO_TESTS = 0, 1, 5


class Ended(NamedTuple):
    """How the tests of a file or directory ended; `report` is the path of what JUnit's XML says about each."""

    report: str
    tests: int
    failures: int
    errors: int
    skipped: int
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether no test failed."""
        return not self.failures and not self.errors


def run_tests(paths: Paths, path: str, junitxml_file: str | None = None) -> Ended:
    """Run the tests of a file or directory; what pytest says goes to our standard error as it comes.

    Args:
        paths: those of the environment that is tested.
        path: the file or directory.
        junitxml_file: for the report, see `report_path`.

    Raises:
        HostError: pytest is not installed.
        LagoError: there are no such tests, or they could not be run to the end.
    """
    if not os.path.exists(path):
        directory, name = os.path.split(os.path.abspath(path))
        beside = os.listdir(directory) if os.path.isdir(directory) else []
        raise LagoError(f"there are no tests at {path}", hint=near(name, sorted(beside)))
    if find_spec("pytest") is None:
        raise HostError("pytest is not installed", hint="pip install pytest")
    report = report_path(paths.prefix(), path, junitxml_file)
    os.makedirs(os.path.dirname(report), exist_ok=True)
    # An old one must not be taken for what this run says.
    if os.path.exists(report):
        os.unlink(report)
    with task(f"Run tests of {os.path.basename(os.path.normpath(path))}"):
        argv = [sys.executable, "-m", "pytest", "-v", f"--junitxml={report}", os.path.abspath(path)]
        code = _run(argv, {**os.environ, PREFIX_VARIABLE: paths.prefix()})
    if code == _NO_TESTS:
        raise LagoError(
            f"there is no test in {path}", hint="pytest takes functions for tests whose name begins with test"
        )
    if code not in (_ALL_PASSED, _SOME_FAILED):
        raise LagoError(
            f"the tests of {path} were not run to the end: pytest ended with status {code}",
            hint="see what it says above, or run "
            f"{PREFIX_VARIABLE}={shlex.quote(paths.prefix())} pytest {shlex.quote(path)}",
        )
    return _read(report)


def _run(argv: list[str], env: Mapping[str, str]) -> int:
    """Run a program to its end; its exit status. When we are interrupted it ends in its own time, as by Ctrl-C."""
    # In a group of its own it gets a Ctrl-C of the terminal from us alone, once.
    with spawn(argv, stdout=_STDERR, env=env, ask=signal.SIGINT, grace=None, process_group=0) as process:
        return process.wait()


def report_path(default_dir: str, test: str, wanted: str | None) -> str:
    """Return where the report about a test file goes.

    Args:
        default_dir: for a report of which no directory is said.
        test: the file or directory of tests.
        wanted: a file name, a path, or a directory, which ends with a slash; None: `<test>.junit.xml`.
    """
    directory, name = os.path.split(wanted or "")
    name = name or os.path.basename(os.path.abspath(test)) + _SUFFIX
    return os.path.abspath(os.path.join(directory or default_dir, name))


def _read(report: str) -> Ended:
    suite = ElementTree.parse(report).getroot().find("testsuite")  # noqa: S314 - pytest just wrote it
    if suite is None:
        raise LagoError(f"{report} has no test suite", hint="run the tests again")
    tests, failures, errors, skipped = (int(suite.get(name, 0)) for name in Ended._fields[1:5])
    return Ended(report, tests, failures, errors, skipped, float(suite.get("time", 0)))
