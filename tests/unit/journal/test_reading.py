"""Reading journals and following them."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lago.journal import kinds
from lago.journal.reading import Entry, Follower, entries, follow, spans
from lago.journal.writing import Journal


def line(**keys: object) -> bytes:
    return json.dumps(keys).encode() + b"\n"


def test_a_directory_without_a_journal_has_no_lines(tmp_path: Path) -> None:
    assert list(entries(str(tmp_path))) == []
    assert list(entries(str(tmp_path / "missing"))) == []


def test_older_files_come_first(tmp_path: Path) -> None:
    for number, name in enumerate(["journal.10.jsonl", "journal.2.jsonl", "journal.1.jsonl", "journal.jsonl"]):
        (tmp_path / name).write_bytes(line(t=number, kind="note", text=name))
    (tmp_path / "journal.x.jsonl").write_bytes(line(t=1, kind="note", text="none of them"))
    found = [one["text"] for one in entries(str(tmp_path))]
    assert found == ["journal.10.jsonl", "journal.2.jsonl", "journal.1.jsonl", "journal.jsonl"]
    assert [one["t"] for one in entries(str(tmp_path), since=2)] == [2, 3]


def test_what_is_no_line_of_a_journal_is_passed_over(tmp_path: Path) -> None:
    good = line(t=1, kind="note", text="good")
    bad = [
        b"\n",
        b"[]\n",
        b"{}\n",
        b"\xff\xfe\n",
        b"{\n",
        b'{"t":NaN,"kind":"note","text":"x"}\n',
        b'{"t":' + b"9" * 5000 + b',"kind":"note","text":"x"}\n',
        b'{"t":1,"kind":' + b"[" * 30000 + b"\n",
        line(t=True, kind="note", text="x"),
        line(t=-1, kind="note", text="x"),
        line(t=1, kind=["note"], text="x"),
        line(t=1, kind="note", text=5),
        line(t=1, kind="end", id={}, outcome="ok"),
        b"x" * 200_000 + b"\n",
        b"x" * 3_000_000 + b"\n",
    ]
    (tmp_path / "journal.jsonl").write_bytes(good + good.join(bad) + good + good.rstrip(b"\n"))
    assert [one["text"] for one in entries(str(tmp_path))] == ["good"] * (len(bad) + 1)


def test_kinds_and_keys_of_later_releases_stay_and_values_of_another_type_go(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(
        line(t=1, kind="dream", vm={"a": 1}) + line(t=2, kind="note", text="a", vm=7, later=[1])
    )
    assert list(entries(str(tmp_path))) == [
        {"t": 1.0, "kind": "dream", "vm": {"a": 1}},
        {"t": 2.0, "kind": "note", "text": "a", "later": [1]},
    ]


def test_spans_join_their_lines(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(
        line(t=1, kind="verb", id="a", name="start")
        + line(t=2, kind="command", id="b", parent="a", vm="vm0", text="true")
        + line(t=3.5, kind="end", id="b", outcome="failed", code=1)
        + line(t=4, kind="end", id="nobody", outcome="ok")
    )
    start, command = spans(entries(str(tmp_path)))
    assert (start.kind, start.outcome, start.seconds) == ("verb", None, None)
    assert (command.kind, command.outcome, command.seconds) == ("command", "failed", 1.5)


def test_who_follows_sees_each_line_once_also_when_files_are_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAGO_JOURNAL_LIMIT", "1")
    journal = Journal(str(tmp_path))
    journal.event("note", text="before")
    found: list[Entry] = []
    done = threading.Event()
    # Made here, so that nothing is written before it looks.
    follower = Follower(str(tmp_path))

    def read() -> None:
        while not any(one.get("text") == "last" for one in found):
            found.extend(follower.entries())
            follower.wait(1)
        done.set()

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(3000):
        journal.event("note", text=f"{number} " + "x" * 100)
        if number % 100 == 0:
            time.sleep(0.001)
    journal.event("note", text="last")
    assert done.wait(60)
    thread.join()
    follower.close()
    numbers = [int(one["text"].split()[0]) for one in found if one["kind"] == "note" and one["text"] != "last"]
    assert numbers == list(range(3000))
    assert (tmp_path / "journal.1.jsonl").exists()


def test_following_ends_with_the_directory(tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    prefix.mkdir()
    Journal(str(prefix)).event("note", text="before")
    said: list[str] = []

    def read() -> None:
        said.extend(one["text"] for one in follow(str(prefix), all_of_it=True) if one["kind"] == "note")

    thread = threading.Thread(target=read)
    thread.start()
    deadline = time.monotonic() + 60
    while not said and thread.is_alive() and time.monotonic() < deadline:
        # `extend` takes what comes one by one.
        time.sleep(0.01)
    shutil.rmtree(prefix)
    thread.join(60)
    assert not thread.is_alive()
    assert said == ["before"]


def test_a_half_written_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    whole = line(t=1, kind="note", text="whole")
    path = tmp_path / "journal.jsonl"
    path.write_bytes(line(t=1, kind="note", text="old") + whole[:10])
    follower = Follower(str(tmp_path))
    assert list(follower.entries()) == []
    with open(path, "ab") as file:
        file.write(whole[10:])
    assert [one["text"] for one in follower.entries()] == ["whole"]
    follower.close()


def validated(found: Iterator[Entry]) -> None:
    """Check lines against the JSON Schema, by the rules that it uses."""
    schema = kinds.json_schema()
    types: dict[str, Any] = {"string": str, "number": (int, float), "integer": int, "boolean": bool}
    types |= {"array": list, "object": dict}
    for one in found:
        assert set(schema["required"]) <= set(one)
        mine = [s["then"] for s in schema["allOf"] if s["if"]["properties"]["kind"]["const"] == one["kind"]]
        for rules in (schema, *mine):
            assert set(rules["required"]) <= set(one), one
            for key, rule in rules["properties"].items():
                if key in one:
                    assert isinstance(one[key], types[rule["type"]]), (key, one)


def test_what_is_written_is_what_the_schema_says(tmp_path: Path) -> None:
    (tmp_path / "uuid").write_text("ab" * 16)
    journal = Journal(str(tmp_path))
    journal.event("topology", vms={}, nets={})
    with journal.span("command", vm="vm0", text="true", user="root", tty=False) as span:
        span.fields(code=0, out_first="", out_bytes=0)
    assert os.listdir(tmp_path)
    validated(entries(str(tmp_path)))
    assert {one["kind"] for one in entries(str(tmp_path))} == {"journal", "topology", "command", "end"}
