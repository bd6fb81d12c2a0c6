"""The journal of an environment tells what happened to it, in order, whoever did it, and when."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lago import sdk
from lago.journal import files
from lago.journal.reading import Entry, Span, entries, spans

from ..users import User
from .box import ONE, TWO, Box, processes, wait_for


def ordered(found: list[Entry], *wanted: Callable[[Entry], bool]) -> None:
    """See that something stands in a journal, each behind what comes before it here."""
    at = 0
    for number, is_it in enumerate(wanted):
        place = next((n for n in range(at, len(found)) if is_it(found[n])), None)
        assert place is not None, (number, [one["kind"] for one in found[at:]])
        at = place + 1


def having(kind: str, **keys: object) -> Callable[[Entry], bool]:
    return lambda one: one["kind"] == kind and all(one.get(key) == value for key, value in keys.items())


@pytest.fixture(scope="module")
def box(module_box: Box) -> Box:
    """Two machines, one of which has a password and a deploy script."""
    module_box.write("note this down\n", "a file")
    script = module_box.write("echo deployed; PASSWORD=hunter22 true\n", "deploy.sh")
    extra = f"memory: 128, root-password: swordfish1, metadata: {{deploy-scripts: [{script.name}]}}"
    module_box.write(TWO.replace("memory: 128", extra, 1))
    return module_box


def of(box: Box) -> list[Entry]:
    return list(entries(str(box.prefix)))


def span(box: Box, kind: str, **keys: object) -> Span:
    """The last one of a kind."""
    is_it = having(kind, **keys)
    return [one for one in spans(of(box)) if is_it(one.opening)][-1]


def test_an_environment_that_does_a_bit_of_everything_is_told_in_order(box: Box) -> None:
    box.lago("init")
    assert list(entries(str(box.prefix)))[1]["kind"] == "verb"
    box.lago("start")
    box.lago("deploy")
    box.lago("shell", "vm0", "-c", "sleep 1; echo swordfish1; echo TOKEN=abc >&2; exit 3", code=3)
    said_at = time.time()
    box.shell("vm1", "echo what is said now >/dev/console")
    box.lago("copy-to-vm", "vm0", "a file", "/root/")
    box.lago("snapshot", "one")
    box.lago("fault", "cut", "vm0")
    box.lago("heal")
    box.lago("note", "--vm", "vm1", "looks", "good")
    box.lago("revert", "one")
    box.lago("fork", "copy", "--from", "one", "--paused")
    box.lago("snapshot", "delete", "one")
    assert wait_for(lambda: any(one.get("text") == "what is said now" for one in of(box)), 60)
    found = of(box)
    ordered(
        found,
        having("journal", version=1, path=str(box.prefix)),
        having("verb", name="init", by="cli"),
        having("topology"),
        having("verb", name="start"),
        having("topology"),
        having("state", vm="vm0", state="running"),
        having("ssh", vm="vm0", up=True),
        having("verb", name="deploy"),
        having("script", vm="vm0", path="scripts/" + next(p.name for p in (box.prefix / "scripts").iterdir())),
        having("verb", name="shell"),
        having("command", vm="vm0"),
        having("end", code=3, outcome="failed"),
        having("command", vm="vm1", text="echo what is said now >/dev/console"),
        having("copy", vm="vm0", direction="to", target="/root/"),
        having("snapshot", name="one", vms=["vm0", "vm1"]),
        having("state", state="paused"),
        having("fault", name="f1", what="cut"),
        having("verb", name="heal"),
        having("end", outcome="ok"),
        having("note", vm="vm1", text="looks good"),
        having("revert", name="one"),
        having("fork", name="one"),
        having("delete-snapshot", name="one"),
    )
    # A lease is told of by who looks for it, which may be later than ssh answers.
    ordered(found, having("state", vm="vm0", state="running"), having("lease", vm="vm0", net="lan"))
    assert all(one.end is not None for one in spans(found)), [one.opening for one in spans(found) if one.end is None]
    deployed = next(one for one in spans(found) if one.opening.get("text", "").startswith("bash -s <"))
    assert deployed.end is not None
    assert deployed.end["out_first"] == "deployed\n"
    shell = span(box, "command", vm="vm0")
    assert shell.seconds is not None
    assert 1 <= shell.seconds < 60
    [line] = [one for one in found if one["kind"] == "console" and one["text"] == "what is said now"]
    shown = span(box, "command", vm="vm1")
    assert shown.end is not None
    assert line["vm"] == "vm1"
    assert said_at - 1 <= line["t"] <= shown.end["t"] + 1
    text = (box.prefix / files.NAME).read_text()
    assert "swordfish1" not in text
    assert "hunter22" not in text
    assert "TOKEN=abc" not in text
    copy = next(one for one in spans(found) if one.kind == "copy").end
    assert copy is not None
    assert copy["bytes"] > 15


def test_a_fork_begins_a_journal_of_its_own_and_both_name_each_other(box: Box) -> None:
    copy = box.place / ".lago" / "copy"
    first, forked = list(entries(str(copy)))[:2]
    made = span(box, "fork")
    assert made.end is not None
    assert first["kind"] == "journal"
    assert (forked["kind"], forked["snapshot"], forked["from_path"]) == ("forked", "one", str(box.prefix))
    assert forked["from_prefix"] == (box.prefix / "uuid").read_text().strip()
    assert (made.opening["to"], made.end["to_prefix"]) == (str(copy), (copy / "uuid").read_text().strip())
    # What was said before it was made is not of it.
    assert not [one for one in entries(str(copy)) if one["kind"] == "console" and "kernel" in one["text"]]


def test_going_back_to_a_snapshot_leaves_the_journal(box: Box) -> None:
    times = [one["t"] for one in of(box) if one["kind"] in ("snapshot", "fault", "revert")]
    assert len(times) >= 3
    assert times == sorted(times)


def test_who_follows_sees_what_comes(box: Box) -> None:
    with box.until_interrupted("-f", "json", "journal", "--follow", "--kind", "note") as process:
        assert process.stdout is not None
        assert "looks good" in process.stdout.readline()
        box.lago("note", "and", "another")
        found = json.loads(process.stdout.readline())
        assert (found["kind"], found["text"]) == ("note", "and another")


def test_a_machine_whose_qemu_is_killed_is_seen_to_end(box: Box) -> None:
    before = time.time()
    with sdk.load_env(box.place / ".lago") as env:
        env.get_vms()["vm1"].kill()
    assert wait_for(
        lambda: any(
            one["kind"] == "state"
            and one["vm"] == "vm1"
            and one["state"] in ("crashed", "shut off")
            and one["t"] > before
            for one in of(box)
        ),
        60,
    )
    assert span(box, "verb", name="kill").opening["by"] == "sdk"


def test_who_writes_down_is_killed_and_the_next_start_goes_on_where_he_was(box: Box) -> None:
    [pid] = watching(box)
    os.kill(pid, 9)
    assert wait_for(lambda: not os.path.exists(f"/proc/{pid}"), 60)
    box.shell("vm0", "echo unheard >/dev/console")
    box.lago("start")
    assert wait_for(lambda: any(one.get("text") == "unheard" for one in of(box)), 60)
    lines = [one["text"] for one in of(box) if one["kind"] == "console" and one["vm"] == "vm0"]
    assert lines.count("unheard") == 1
    assert sum(1 for line in lines if line.startswith("lago-init: this is")) == 1


def test_a_guest_that_writes_without_end_fills_no_journal_and_takes_no_processor(box: Box) -> None:
    before = (box.prefix / files.NAME).stat().st_size
    [pid] = watching(box)
    began, used = time.monotonic(), _ticks(pid)
    box.shell("vm0", "timeout 15 yes 0123456789012345678901234567890123456789 >/dev/console; true")
    seconds = time.monotonic() - began
    assert wait_for(lambda: any(one.get("left_out", 0) > 0 for one in of(box)), 60)
    assert (box.prefix / files.NAME).stat().st_size - before < 4 << 20
    assert (_ticks(pid) - used) / os.sysconf("SC_CLK_TCK") < seconds / 3


def watching(box: Box) -> list[int]:
    """The programs that listen to the machines of an environment."""
    found = [(pid, command) for pid, command in processes() if str(box.prefix) in command]
    return [pid for pid, command in found if "lago.virt.watching" in command and "nsenter" not in command]


def _ticks(pid: int) -> int:
    """Processor time of a process, in ticks. Source: proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_stopping_tells_that_all_has_ended_and_leaves_nobody(box: Box) -> None:
    box.lago("stop")
    last = {one["vm"]: one["state"] for one in of(box) if one["kind"] == "state"}
    assert last == {"vm0": "shut off", "vm1": "shut off"}
    assert not watching(box)


def test_destroying_takes_the_journal_along(box: Box) -> None:
    prefix = box.prefix
    box.lago("destroy", "--yes")
    assert not prefix.exists()


@pytest.mark.slow
def test_an_ordinary_users_environment_is_listened_to_as_well(mini: Path, throwaway_user: User) -> None:
    with contextlib.closing(Box.of_user(throwaway_user, mini, "journal")) as box:
        box.write(ONE)
        box.lago("init")
        box.lago("start")
        wanted = {"console", "state", "lease", "ssh"}
        assert wait_for(lambda: wanted <= {one["kind"] for one in of(box)}, 60)
        box.lago("stop")
        assert of(box)[-2]["state"] == "shut off"
        assert not watching(box)
