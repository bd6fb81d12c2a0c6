"""Journals that no environment has written."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

START = 1_796_090_000.0

Entry = dict[str, Any]


def write(directory: Path, entries: Iterable[Entry]) -> Path:
    """Write a journal, and return its directory."""
    directory.mkdir(exist_ok=True)
    text = "".join(f"{json.dumps(one)}\n" for one in entries)
    (directory / "journal.jsonl").write_text(text, encoding="ascii")
    return directory


def head(name: str, vms: Iterable[str]) -> list[Entry]:
    """The first lines of a journal, of machines on one net."""
    nics = {vm: {"nics": [{"net": "lan", "ip": f"10.0.0.{at + 2}"}]} for at, vm in enumerate(vms)}
    return [
        {"t": START, "kind": "journal", "version": 1, "prefix": "1", "name": name, "path": f"/{name}", "lago": "1"},
        {"t": START, "kind": "topology", "vms": nics, "nets": {"lan": {"subnet": "10.0.0.0/24"}}},
    ]


def large(events: int, machines: int) -> list[Entry]:
    """What so many machines said and did, mostly on their consoles; of a hundred commands one fails."""
    random_ = random.Random(1)
    names = [f"node-{at:02}" for at in range(machines)]
    made = head("large", names)
    made += [{"t": START, "kind": "state", "vm": one, "state": "running", "reason": "booted"} for one in names]
    t = START
    while len(made) < events:
        t += random_.expovariate(50)
        vm = random_.choice(names)
        if random_.random() < 0.15:
            made += _command(random_, len(made), t, vm)
        else:
            text = f"[{t - START:12.6f}] kernel: message {random_.getrandbits(64):x} about device {len(made) % 9}"
            made.append({"t": t, "kind": "console", "vm": vm, "text": text})
    return sorted(made[:events], key=lambda one: float(one["t"]))


def _command(random_: random.Random, number: int, t: float, vm: str) -> list[Entry]:
    failed = random_.random() < 0.01
    text = f"journalctl -u unit{number % 97} --since -{number}s"
    output = f"line {random_.random()}\n" * random_.randint(0, 20)
    end = {"outcome": "failed" if failed else "ok", "code": int(failed), "out_first": output, "out_bytes": len(output)}
    return [
        {"t": t, "kind": "command", "id": f"c{number}", "vm": vm, "text": text, "user": "root", "tty": False},
        {"t": t + random_.expovariate(2), "kind": "end", "id": f"c{number}", **end},
    ]


MARKUP = "<script>attack()</script><img src=x onerror=attack()><svg onload=attack()>"
ENDS = "</script></style></title><!--<script>" + MARKUP + "]]>\"'`${attack()}"
CONTROLS = (
    "\x00\x07\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[8mhidden\x7f\x9b1m\u2028\u2029\u202egnp.exe\u2066\u200b\ufeff\ud800"
)
LONG = "<b>" + "a\u202e\x1b[0m" * 5000


def hostile() -> list[Entry]:
    """A journal in which each text is meant to do harm to whoever looks at it."""
    bad = ENDS + CONTROLS
    vms = [bad, "__proto__", "constructor", "web"]
    made = head(bad, vms)
    made[1]["nets"] = {bad: {"subnet": bad, "type": bad}, "__proto__": {"subnet": bad}, "lan": None}
    made[1]["vms"][bad] = {"nics": [{"net": bad, "ip": bad}, {"net": "__proto__", "ip": bad}, None, 7]}
    spans: list[tuple[Entry, Entry]] = [
        ({"kind": "verb", "name": bad, "args": bad, "by": bad}, {"error": bad}),
        ({"kind": "test", "nodeid": bad}, {"result": "failed", "message": bad}),
        (
            {"kind": "command", "vm": bad, "text": bad, "user": bad},
            {"code": 1, "out_first": bad, "out_last": LONG, "out_bytes": 1 << 40, "err_first": LONG},
        ),
        ({"kind": "copy", "vm": "__proto__", "direction": "to", "source": bad, "target": bad}, {"error": bad}),
        ({"kind": "script", "vm": "constructor", "path": bad}, {"error": bad}),
        ({"kind": "snapshot", "name": bad, "vms": [bad]}, {"error": bad}),
        ({"kind": "fork", "name": bad, "to": bad}, {"error": bad}),
        ({"kind": "fault", "name": bad, "what": bad, "words": bad, "targets": [bad, "__proto__"]}, {}),
        ({"kind": "capture", "net": bad, "file": bad}, {}),
    ]
    for at, (opening, end) in enumerate(spans):
        made.append({"t": START + 1 + at, "id": f"{at}{bad}", **opening})
        made.append({"t": START + 30 + at, "kind": "end", "id": f"{at}{bad}", "outcome": "failed", **end})
    for vm in vms:
        made.append({"t": START + 2, "kind": "state", "vm": vm, "state": bad, "reason": bad})
        made.append({"t": START + 3, "kind": "lease", "vm": vm, "net": bad, "ip": bad, "mac": bad, "hostname": bad})
        file, form = ("screens/page.png", "png") if vm == "web" else ("../../../../../../etc/passwd", "txt")
        made.append({"t": START + 4, "kind": "screen", "vm": vm, "file": file, "form": form})
        made += [{"t": START + 5, "kind": "console", "vm": vm, "text": text} for text in (bad, LONG, MARKUP, CONTROLS)]
    made += [
        {"t": START + 6, "kind": "note", "text": bad},
        {"t": START + 7, "kind": bad, "text": bad},
        {"t": START + 8, "kind": "toString", "id": "hasOwnProperty"},
        {"t": START + 9, "kind": "end", "id": "__proto__", "outcome": bad},
        {"t": START + 10, "kind": "command", "vm": "web", "text": "x" * 60000, "id": "long"},
    ]
    return sorted(made, key=lambda one: float(one["t"]))
