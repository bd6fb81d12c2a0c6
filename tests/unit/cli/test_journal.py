"""lago journal and lago note: what is shown, chosen, and refused."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from lago.cli.journal import instant
from lago.errors import LagoError
from lago.journal.writing import Journal

from ..conftest import ONE_EMPTY, Lago


@pytest.fixture
def prefix(lago: Lago, tmp_path: Path) -> Path:
    """An environment of one machine."""
    (tmp_path / "LagoInitFile").write_text(ONE_EMPTY)
    lago("init", "--skip-bootstrap")
    return tmp_path / ".lago" / "default"


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


pytestmark = pytest.mark.programs


def test_a_command_is_told_once_with_its_words(lago: Lago, prefix: Path) -> None:
    found = lines(lago("-f", "json", "journal"))
    assert [one["kind"] for one in found] == ["journal", "verb", "topology", "end"]
    assert (found[1]["name"], found[1]["by"], found[1]["args"]) == ("init", "cli", "init --skip-bootstrap")
    assert (found[3]["code"], found[3]["outcome"]) == (0, "ok")
    lago("status")
    assert lines(lago("-f", "json", "journal")) == found


def test_a_command_that_fails_is_told_with_its_reason(lago: Lago, prefix: Path) -> None:
    lago("revert", "nothing", code=2)
    [begin, end] = lines(lago("-f", "json", "journal"))[-2:]
    assert (begin["name"], end["outcome"], end["code"]) == ("revert", "failed", 2)
    assert "nothing" in str(end["error"])


def test_passwords_of_the_command_line_stay_out(lago: Lago, prefix: Path) -> None:
    lago("--ssh-password", "swordfish", "revert", "nothing", code=2)
    assert "swordfish" not in (prefix / "journal.jsonl").read_text()


def test_notes_are_written_and_chosen(lago: Lago, prefix: Path) -> None:
    lago("note", "all", "is", "well")
    lago("note", "--vm", "vm0", "not here")
    assert [one["text"] for one in lines(lago("-f", "json", "journal", "--kind", "note"))] == [
        "all is well",
        "not here",
    ]
    assert [one["text"] for one in lines(lago("-f", "json", "journal", "vm0"))] == ["not here"]
    assert lago("journal", "--kind", "note,state").splitlines()[-1].endswith("vm0: note: not here")
    assert "there is no machine vm7" in lago.both("note", "--vm", "vm7", "x", code=2)[1]
    assert "the journal has no kind notes" in lago.both("journal", "--kind", "notes", code=2)[1]


def test_only_what_is_later_is_shown(lago: Lago, prefix: Path) -> None:
    Journal(str(prefix)).event("note", t=time.time() - 7200, text="old")
    Journal(str(prefix)).event("note", text="new")
    assert [one["text"] for one in lines(lago("-f", "json", "journal", "--kind", "note", "--since", "1h"))] == ["new"]


def test_what_lasts_is_shown_with_its_end_in_one_line_each(lago: Lago, prefix: Path) -> None:
    with Journal(str(prefix)).span("command", vm="vm0", text="echo a\nb") as span:
        span.fields(code=3)
        span.close("failed")
    begin, end = lago("journal", "--kind", "command").splitlines()
    assert begin.endswith("vm0: $ echo a b")
    assert "vm0: $ echo a b -> failed, status 3 after 0." in end


def test_what_guests_say_does_nothing_on_a_terminal(lago: Lago, prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Journal(str(prefix)).event("console", vm="vm0", text="\x1b]0;title\x07 \x1b[2J\u202e")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    said = lago("journal", "--kind", "console")
    assert "\x1b" not in said
    assert r"\x1b]0;title\x07" in said


def test_the_schema_is_printed_without_an_environment(lago: Lago) -> None:
    assert json.loads(lago("-f", "json", "journal", "--schema"))["required"] == ["t", "kind"]


@pytest.mark.parametrize(
    ("text", "ago"), [("90s", 90), ("5m", 300), ("2h", 7200), ("3d", 259200), ("10", 10), ("1.5m ago", 90)]
)
def test_times_that_are_so_long_ago(text: str, ago: float) -> None:
    assert instant(text, 1e6) == 1e6 - ago


def test_times_of_a_clock_and_a_calendar() -> None:
    now = time.mktime((2026, 1, 31, 18, 0, 0, 0, 0, -1))
    assert instant("2026-01-31 14:30", now) == now - 3.5 * 3600
    assert instant("14:30", now) == instant("2026-01-31T14:30:00", now)
    with pytest.raises(LagoError, match="yesterday is no time") as found:
        instant("yesterday", now)
    assert "5m" in found.value.hint
