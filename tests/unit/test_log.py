"""Tasks as a person sees them, and the file that gets everything."""

from __future__ import annotations

import io
import logging
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago import log
from lago.host.parallel import in_parallel


@pytest.fixture(autouse=True)
def console() -> Iterator[io.StringIO]:
    """A console of the usual level; the logger is as before afterwards."""
    handlers, level, before = list(log.LOG.handlers), log.LOG.level, log._console
    stream = io.StringIO()
    log.setup_console(stream=stream)
    yield stream
    log.LOG.handlers[:], log._console = handlers, before
    log.LOG.setLevel(level)


def _lines(stream: io.StringIO) -> list[str]:
    return [re.sub(r"\d:\d\d:\d\d", "T", line) for line in stream.getvalue().splitlines()]


def test_tasks_are_shown_when_they_begin_and_end_indented_by_depth(console: io.StringIO) -> None:
    with log.task("Start Prefix"), log.task("Start nets"):
        pass
    assert _lines(console) == [
        "@ Start Prefix: ",
        "  # Start nets: ",
        "  # Start nets: Success (in T)",
        "@ Start Prefix: Success (in T)",
    ]


def test_a_task_that_fails_says_so_and_lets_the_error_through(console: io.StringIO) -> None:
    with pytest.raises(ValueError, match="boom"), log.task("Start"):
        raise ValueError("boom")
    assert _lines(console)[-1] == "@ Start: ERROR (in T)"


def test_tasks_below_the_depth_are_not_shown(console: io.StringIO) -> None:
    log.setup_console(logdepth=1, stream=console)
    with log.task("shown"), log.task("hidden"):
        pass
    assert not any("hidden" in line for line in _lines(console))


def test_depth_minus_one_shows_all(console: io.StringIO) -> None:
    log.setup_console(logdepth=-1, stream=console)
    with log.task("1"), log.task("2"), log.task("3"), log.task("4"), log.task("5"), log.task("6"):
        pass
    assert "          @ 6: " in _lines(console)


def test_warnings_reach_the_console_and_details_do_not(console: io.StringIO) -> None:
    log.LOG.warning("look")
    log.LOG.info("detail")
    assert _lines(console) == ["WARNING: look"]


def test_at_level_error_neither_tasks_nor_warnings_are_shown(console: io.StringIO) -> None:
    log.setup_console("error", stream=console)
    with log.task("Start"):
        log.LOG.warning("look")
    assert console.getvalue() == ""


def test_at_level_debug_everything_is_shown(console: io.StringIO) -> None:
    log.setup_console("debug", stream=console)
    log.LOG.debug("detail")
    assert "DEBUG: detail" in _lines(console)


def test_setting_up_twice_does_not_say_everything_twice(console: io.StringIO) -> None:
    log.setup_console(stream=console)
    log.LOG.warning("once")
    assert _lines(console) == ["WARNING: once"]


def test_the_file_gets_everything_while_the_context_lasts(tmp_path: Path) -> None:
    path = tmp_path / "lago.log"
    with log.to_file(str(path)), log.task("Start"):
        log.LOG.debug("detail")
    log.LOG.debug("afterwards")
    text = path.read_text()
    assert [word in text for word in ("Start: started", "detail", "Start: Success", "afterwards")] == [1, 1, 1, 0]
    assert all(line.count("::") == 6 for line in text.splitlines())


def test_files_of_two_threads_get_what_is_theirs(tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=60)

    def work(name: str) -> None:
        with log.to_file(str(tmp_path / name)):
            both.wait()
            in_parallel(lambda word: log.LOG.debug("%s", word), [f"{name}-1", f"{name}-2"], what="log")
            both.wait()

    in_parallel(work, ["a", "b"], what="work")
    for name, other in ("ab", "ba"):
        text = (tmp_path / name).read_text()
        assert f"{name}-1" in text
        assert f"{name}-2" in text
        assert f"{other}-" not in text


def test_a_file_gets_records_from_its_level_on(tmp_path: Path) -> None:
    with log.to_file(str(tmp_path / "all")), log.to_file(str(tmp_path / "some"), logging.INFO), log.task("Start"):
        log.LOG.debug("detail")
    assert "detail" in (tmp_path / "all").read_text()
    assert "detail" not in (tmp_path / "some").read_text()
    assert "Start: Success" in (tmp_path / "some").read_text()


def test_a_file_that_gets_everything_leaves_the_logging_of_the_program_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log.LOG.setLevel(logging.NOTSET)
    with caplog.at_level(logging.WARNING), log.to_file(str(tmp_path / "lago.log")):
        log.LOG.debug("detail")
        log.LOG.warning("look")
        assert log.LOG.level == logging.NOTSET
    assert caplog.messages == ["look"]


def test_no_file_is_made_when_nothing_is_said(tmp_path: Path) -> None:
    with log.to_file(str(tmp_path / "lago.log")):
        pass
    assert not tmp_path.joinpath("lago.log").exists()
    assert logging.getLogger("lago") is log.LOG


def test_a_name_that_is_no_utf_8_is_logged_with_its_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with log.to_file(str(tmp_path / "lago.log")):
        log.LOG.debug("run: tar %s", os.fsdecode(b"a\xff"))
    assert "run: tar a\\udcff\n" in tmp_path.joinpath("lago.log").read_text()
    assert "Logging error" not in capsys.readouterr().err
