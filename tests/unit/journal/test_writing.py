"""Writing a journal: by many at once, on full disks, after kills; and nobody who writes fails or waits."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import shutil
import signal
import stat
import sys
import textwrap
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lago.errors import ConfigError
from lago.host.programs import PIPE, spawn
from lago.journal import files
from lago.journal.reading import Entry, entries, spans
from lago.journal.writing import Journal


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A directory with what a journal needs to know of an environment."""
    made = tmp_path / "a prefix"
    made.mkdir()
    (made / "uuid").write_text("ab" * 16)
    return made


def of_kind(prefix: Path, kind: str) -> list[Entry]:
    return [one for one in entries(str(prefix)) if one["kind"] == kind]


def test_a_journal_begins_with_what_it_is_of(prefix: Path) -> None:
    before = time.time()
    Journal(str(prefix)).event("note", text="hello")
    first, note = entries(str(prefix))
    told = (first["kind"], first["version"], first["prefix"], first["name"], first["path"], first["pid"])
    assert told == ("journal", 1, "ab" * 16, "a prefix", str(prefix), os.getpid())
    assert (note["kind"], note["text"]) == ("note", "hello")
    assert before <= note["t"] <= time.time()


def test_nobody_else_reads_it(prefix: Path) -> None:
    umask = os.umask(0)
    try:
        Journal(str(prefix)).event("note", text="hello")
    finally:
        os.umask(umask)
    assert stat.S_IMODE(os.stat(prefix / files.NAME).st_mode) == 0o600


def test_what_lasts_has_an_end_and_holds_what_happened_meanwhile(prefix: Path) -> None:
    journal = Journal(str(prefix))
    with journal.span("verb", name="start") as verb:
        journal.event("state", vm="vm0", state="running")
        with journal.span("command", vm="vm0", text="true") as command:
            command.fields(code=0)
    with pytest.raises(ValueError, match="no"), journal.span("verb", name="stop"):
        raise ValueError("no")
    with pytest.raises(KeyboardInterrupt), journal.span("verb", name="deploy"):
        raise KeyboardInterrupt
    journal.event("note", text="after")
    found = list(entries(str(prefix)))
    assert [one["parent"] for one in found if one["kind"] in ("state", "command")] == [verb.id, verb.id]
    assert "parent" not in found[-1]
    ended = {one.opening.get("name", "command"): one for one in spans(found)}
    assert {name: one.outcome for name, one in ended.items()} == {
        "start": "ok",
        "command": "ok",
        "stop": "failed",
        "deploy": "interrupted",
    }
    assert ended["command"].end is not None
    assert ended["command"].end["code"] == 0
    assert ended["stop"].end is not None
    assert ended["stop"].end["error"] == "no"


def test_a_span_ends_once(prefix: Path) -> None:
    with Journal(str(prefix)).span("verb", name="start") as span:
        span.close("failed", error="early")
    [end] = of_kind(prefix, "end")
    assert (end["outcome"], end["error"]) == ("failed", "early")


WRITER = textwrap.dedent(
    """
    import sys
    from lago.journal.writing import Journal
    journal = Journal(sys.argv[1])
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(sys.argv[3])):
        journal.event("note", text=f"{sys.argv[2]} {number} " + "x" * int(sys.argv[4]))
    """
)


def written_by_many(prefix: Path, writers: int, lines: int, size: int) -> None:
    """Let processes write at the same time."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        running = [
            stack.enter_context(
                spawn(
                    [sys.executable, "-c", WRITER, str(prefix), str(number), str(lines), str(size)],
                    stdin=PIPE,
                    stdout=PIPE,
                )
            )
            for number in range(writers)
        ]
        for one in running:
            assert one.stdout is not None
            assert one.stdout.readline() == b"ready\n"
        for one in running:
            assert one.stdin is not None
            one.stdin.write(b"\n")
            one.stdin.flush()
        for one in running:
            assert one.wait() == 0


@pytest.mark.programs
def test_lines_of_many_processes_are_all_there_and_whole(prefix: Path) -> None:
    written_by_many(prefix, 6, 300, 3000)
    # An empty one ends what could have been torn.
    raw = [line for line in (prefix / files.NAME).read_bytes().splitlines() if line]
    assert all(json.loads(line) for line in raw)
    notes = [one["text"].split()[:2] for one in of_kind(prefix, "note")]
    assert Counter(name for name, _ in notes) == {str(number): 300 for number in range(6)}
    for name in "012345":
        assert [int(number) for one, number in notes if one == name] == list(range(300))


@pytest.mark.programs
def test_many_who_write_stay_within_the_limit_and_lose_only_the_oldest(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAGO_JOURNAL_LIMIT", "1")
    Journal(str(prefix)).event("topology", vms={"vm0": {"groups": ["a"]}}, nets={})
    written_by_many(prefix, 4, 1500, 300)
    sizes = [path.stat().st_size for path in prefix.glob("journal*.jsonl")]
    assert len(sizes) == files.PARTS
    assert sum(sizes) < 1.5 * (1 << 20)
    for path in prefix.glob("journal*.jsonl"):
        first, second = [json.loads(line) for line in path.read_bytes().splitlines()[:2]]
        assert (first["kind"], first["prefix"]) == ("journal", "ab" * 16)
        assert (second["kind"], second["vms"]) == ("topology", {"vm0": {"groups": ["a"]}})
    notes = [one["text"].split()[:2] for one in of_kind(prefix, "note")]
    for name in "0123":
        kept = [int(number) for one, number in notes if one == name]
        # Without a gap up to the end; one may stand beside another that began a new file just then.
        assert sorted(kept) == list(range(1500 - len(kept), 1500))
    assert len(notes) > 1000
    assert list(prefix.glob(".*")) == []


@pytest.mark.programs
def test_threads_write_at_the_same_time(prefix: Path) -> None:
    journal = Journal(str(prefix))

    def write(name: int) -> None:
        for number in range(200):
            journal.event("note", text=f"{name} {number}")

    threads = [threading.Thread(target=write, args=(name,)) for name in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(of_kind(prefix, "note")) == 1600
    assert len(of_kind(prefix, "journal")) == 1


@pytest.mark.programs
def test_a_kill_while_writing_leaves_what_was_written_before_and_others_write_on(prefix: Path) -> None:
    for _ in range(5):
        with spawn(
            [sys.executable, "-c", WRITER, str(prefix), "victim", "1000000", "2000"], stdin=PIPE, stdout=PIPE
        ) as writer:
            assert writer.stdin is not None
            writer.stdin.write(b"\n")
            writer.stdin.flush()
            began = len(of_kind(prefix, "note"))
            deadline = time.monotonic() + 60
            while len(of_kind(prefix, "note")) < began + 20:
                assert time.monotonic() < deadline
            writer.send_signal(signal.SIGKILL)
            writer.wait()
    Journal(str(prefix)).event("note", text="the next one")
    lines = (prefix / files.NAME).read_bytes().split(b"\n")
    # At most the last line of each is torn.
    assert sum(1 for line in lines if line and not line.endswith(b"}")) <= 5
    assert of_kind(prefix, "note")[-1]["text"] == "the next one"
    numbers = [int(one["text"].split()[1]) for one in of_kind(prefix, "note")[:-1]]
    assert sum(1 for before, after in pairwise(numbers) if after != before + 1) <= 4


def test_a_torn_line_is_ended_by_the_next_one(prefix: Path) -> None:
    journal = Journal(str(prefix))
    journal.event("note", text="before")
    with open(prefix / files.NAME, "ab") as file:
        file.write(b'{"t":1,"kind":"note","text":"to')
    journal.event("note", text="after")
    assert [one["text"] for one in of_kind(prefix, "note")] == ["before", "after"]


def test_a_full_disk_fails_nobody_and_what_fits_later_is_there(prefix: Path) -> None:
    journal = Journal(str(prefix))
    journal.event("note", text="before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((prefix / files.NAME).stat().st_size + 20, before[1]))
    try:
        journal.event("note", text="does not fit")
        with journal.span("verb", name="start"):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    journal.event("note", text="after")
    assert [one["text"] for one in of_kind(prefix, "note")] == ["before", "after"]


def test_an_environment_that_is_gone_or_not_ours_to_write_fails_nobody(prefix: Path) -> None:
    journal = Journal(str(prefix))
    shutil.rmtree(prefix)
    journal.event("note", text="hello")
    assert not prefix.exists()
    Journal("/proc/1").event("note", text="hello")


@pytest.mark.parametrize("what", ["link", "pipe", "directory"])
def test_what_stands_in_place_of_the_file_is_left_alone_and_not_waited_for(prefix: Path, what: str) -> None:
    path, victim = prefix / files.NAME, prefix / "victim"
    victim.write_text("")
    if what == "link":
        path.symlink_to(victim)
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    Journal(str(prefix)).event("note", text="hello")
    assert victim.read_text() == ""
    assert list(entries(str(prefix))) == []


def test_whoever_holds_the_lock_is_not_waited_for(prefix: Path) -> None:
    journal = Journal(str(prefix))
    journal.event("note", text="before")
    with open(prefix / files.NAME, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        began = time.monotonic()
        journal.event("note", text="meanwhile")
        assert time.monotonic() - began < 30
    assert [one["text"] for one in of_kind(prefix, "note")] == ["before", "meanwhile"]


def test_a_limit_of_0_keeps_none(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGO_JOURNAL_LIMIT", "0")
    with Journal(str(prefix)).span("verb", name="start"):
        pass
    assert not (prefix / files.NAME).exists()


@pytest.mark.parametrize(
    "value", ["x" * 100_000, "\0" * 100_000, "\udc80" * 100, {"a": ["ü" * 5000] * 500}, float("nan"), 1 << 80, object()]
)
def test_no_line_is_longer_than_64_kib_and_all_are_json(prefix: Path, value: Any) -> None:
    journal = Journal(str(prefix))
    journal.event("command", vm="vm0", text="x", out_first=value, out_last=value, err_first=value, err_last=value)
    journal.event(
        "topology", vms={f"vm{number}": {"nics": [{"ip": "ü" * 100}] * 10} for number in range(1000)}, nets={}
    )
    journal.event("note", text="after")
    for line in (prefix / files.NAME).read_bytes().splitlines(keepends=True):
        assert len(line) <= files.LONGEST
        line.decode()
        json.loads(line)
    assert of_kind(prefix, "note")


def test_passwords_stay_out_of_every_text(prefix: Path) -> None:
    journal = Journal(str(prefix), lambda: ["hunter22"])
    with journal.span("command", vm="vm0", text="login hunter22", user="root") as span:
        span.fields(out_first="hunter22" * 10, error="it was hunter22")
    journal.event("console", vm="vm0", text="x" * 4090 + "hunter22")
    assert b"hunter" not in (prefix / files.NAME).read_bytes()


def test_a_setting_that_is_no_regular_expression_is_told(monkeypatch: pytest.MonkeyPatch, prefix: Path) -> None:
    monkeypatch.setenv("LAGO_JOURNAL_MASK", "fine (")
    with pytest.raises(ConfigError, match=r"journal_mask.*no regular expression"):
        Journal(str(prefix))
