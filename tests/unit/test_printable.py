"""What guests and strangers wrote, on a terminal."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import pytest

from lago import log
from lago.cli import output, progress
from lago.cli.main import main
from lago.cli.result import Outcome
from lago.environment.prefix import Prefix
from lago.environment.snapshots.index import Index, Snapshot
from lago.errors import LagoError, printable

from .conftest import make_prefix

EVIL = "\x1b]0;title\x07\x1b[2Jred \x9b31m\u202egnp.exe\rover\x7f"
SHOWN = r"\x1b]0;title\x07\x1b[2Jred \x9b31m\u202egnp.exe\x0dover\x7f"
MARKUP = "[bold]x[/red] [/] :smile: [link=file:///x]y"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_control_characters_are_written_and_not_obeyed() -> None:
    assert printable(EVIL) == SHOWN


def test_bytes_that_are_no_text_are_written_as_what_they_are() -> None:
    assert printable(os.fsdecode(b"caf\xe9")) == r"caf\udce9"


@pytest.mark.parametrize("text", ["", "plain", "a\tb\nc", "\u00fcn\u00efcode \U0001f427 \u65e5\u672c", "a\u00a0b"])
def test_text_is_as_it_was(text: str) -> None:
    assert printable(text) == text


def test_colours_are_left_out() -> None:
    assert printable("[\x1b[0;32m  OK  \x1b[0m] Started\x1b[K") == "[  OK  ] Started"


def test_errors_are_harmless_in_all_their_parts() -> None:
    text = LagoError(EVIL, details=f"tail:\n{EVIL.replace(chr(13), '')}", hint=EVIL).render()
    assert not {*text} & {*"\x1b\x07\x9b\u202e\r\x7f"}
    assert text.startswith(SHOWN)


def test_steps_and_warnings_are_harmless() -> None:
    stream = io.StringIO()
    log.setup_console("info", 3, stream)
    with log.task(f"Copy {EVIL}"):
        log.LOG.warning("%s is left out", EVIL)
    assert stream.getvalue().count(SHOWN) == 3
    assert "\x1b" not in stream.getvalue()


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Terminals have room for all of a text in a line."""
    monkeypatch.setenv("COLUMNS", "400")


@pytest.mark.parametrize("text", [MARKUP, "/a[1]/[b", "[/]", EVIL])
def test_tables_have_text_as_it_is(text: str) -> None:
    stream = Terminal()
    output.console(stream).print(output.table(("one", "two"), [(text, output.cell(text, "red"))]))
    assert stream.getvalue().count(printable(text)) == 2
    assert "\x1b]" not in stream.getvalue()


@pytest.mark.parametrize("name", [MARKUP, "[/]", EVIL])
def test_progress_has_text_as_it_is(name: str) -> None:
    for show in (lambda stream: progress.shown([name], stream), lambda stream: progress.counted(name, stream)):
        log.setup_console("info", 3, io.StringIO())
        stream = Terminal()
        with show(stream):
            pass
        assert printable(name) in stream.getvalue()
        assert "\x1b]" not in stream.getvalue()


def test_no_other_console_of_rich_is_made() -> None:
    sources = Path(output.__file__).parents[1].rglob("*.py")
    assert [path.name for path in sources if re.search(r"\bConsole\(", path.read_text())] == ["output.py"]


def test_the_tables_of_commands_have_text_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "domains: {vm0: {disks: [{size: 1G, metadata: {distro: '[/red]x'}}], nics: [{net: lan}]}}\nnets: {lan: {}}\n"
    prefix = Prefix(str(make_prefix(tmp_path / "[lab" / ".lago" / "[/]", text)))
    index = Index.load(prefix.paths)
    index.snapshots = {"one": Snapshot(name="one", created=1.5, parent=None, vms={}, description=f"[/b]{EVIL}")}
    index.save(prefix.paths)
    for command, shown in (
        ("status", [prefix.paths.prefix(), "[/red]x"]),
        ("snapshot list", [f"[/b]{SHOWN}"]),
        ("snapshot tree", [f"[/b]{SHOWN}"]),
    ):
        terminal = Terminal()
        monkeypatch.setattr("sys.stdout", terminal)
        assert main(["-p", prefix.paths.prefix(), *command.split()]) == 0
        assert not [one for one in shown if one not in terminal.getvalue()], terminal.getvalue()


def test_console_logs_are_harmless_on_a_terminal_and_elsewhere_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = make_prefix(tmp_path / "prefix")
    said = EVIL.replace("\r", "")
    prefix.joinpath("logs", "vm0.console.log").write_text(f"{said}\n")
    for stream, shown in ((Terminal(), printable(said)), (io.StringIO(), said)):
        monkeypatch.setattr("sys.stdout", stream)
        assert main(["-p", str(prefix), "logs"]) == 0
        assert stream.getvalue() == f"{shown}\n"


@pytest.mark.parametrize("format_", ["default", "flat"])
def test_data_on_a_terminal_is_harmless_and_elsewhere_as_it_is(format_: str) -> None:
    shown: list[str] = []
    for stream in (Terminal(), io.StringIO()):
        output.show(Outcome({"distro": EVIL}), output.formatter(format_), stream)
        shown.append(stream.getvalue())
    assert shown == [f"distro: {SHOWN}\n", f"distro: {EVIL}\n"]
