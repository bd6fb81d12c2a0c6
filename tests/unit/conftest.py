"""Unit tests stay inside the process."""

from __future__ import annotations

import logging
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lago.initfile import parse


@pytest.fixture(autouse=True)
def no_programs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that runs a program without the marker `programs`."""
    if request.node.get_closest_marker("programs"):
        return

    def refuse(_self: object, argv: Any, *_args: Any, **_kwargs: Any) -> None:
        raise AssertionError(f"a unit test runs {argv!r}; mark it with @pytest.mark.programs")

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
    # What is left of such a Popen is collected as garbage, which must not add an error of its own.
    monkeypatch.setattr(subprocess.Popen, "__del__", lambda _self: None)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """What the command line sets for the process is as before after each test."""
    from lago import config, log

    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    handlers, console, raises = list(log.LOG.handlers), log._console, logging.raiseExceptions
    yield
    for number, handler in signals.items():
        signal.signal(number, handler)
    for new in [handler for handler in log.LOG.handlers if handler not in handlers]:
        log.LOG.removeHandler(new)
        new.close()
    log._console, logging.raiseExceptions = console, raises
    config.set_command_line({})


class Lago:
    """The command line, run in this process, from a directory of the test's own."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str, code: int = 0) -> str:
        """Run `lago` and see that it ends with the exit status `code`; its standard output."""
        return self.both(*words, code=code)[0]

    def both(self, *words: str, code: int = 0) -> tuple[str, str]:
        """As calling it; its standard output and error output."""
        from lago.cli.main import main

        self._capsys.readouterr()
        try:
            ended = main(words)
        except SystemExit as error:
            ended = int(error.code or 0)
        out, err = self._capsys.readouterr()
        assert ended == code, f"lago {' '.join(words)} ended with {ended}\n{out}\n{err}"
        return out, err


@pytest.fixture
def lago(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lago:
    """The command line in this process, in a directory of the test's own."""
    monkeypatch.chdir(tmp_path)
    return Lago(capsys)


ONE_EMPTY = "domains: {vm0: {disks: [{type: empty, size: 1G, format: qcow2}], nics: [{net: lan}]}}\nnets: {lan: {}}\n"


def make_prefix(path: Path, text: str = ONE_EMPTY) -> Path:
    """A prefix of an init file, if not of one machine on one net, that was never started, without programs."""
    from lago.initfile import document
    from lago.paths import Paths
    from lago.topology import state
    from lago.topology.resolve import resolve

    path.mkdir(parents=True)
    path.joinpath("logs").mkdir()
    file = path / "LagoInitFile"
    file.write_text(text)
    state.save(Paths(str(path)), resolve(parse.parse(document.read(str(file))), uuid="5" * 32, templates={}))
    path.joinpath("uuid").write_text("5" * 32)
    path.joinpath("initialized").touch()
    return path
