"""The commands for the journal: journal, note."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from ..errors import LagoError
from . import output
from .environment import the_prefix
from .parser import Commands, take_negative
from .result import Outcome

if TYPE_CHECKING:
    from ..journal.reading import Entry

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_FORMS: Final = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d")
_TODAY: Final = ("%H:%M:%S", "%H:%M")
_CONTEXT: Final = ("journal", "topology")
_SHOWN: Final = 500
"""Characters of a text for people."""


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the commands to the command line."""
    journal = commands.add_parser(
        "journal",
        description="Tell what happened in the environment, oldest first: what was done, what machines said and how "
        "they fared. With -f json each line is one JSON object, as the manual describes it.",
    )
    take_negative(journal)
    journal.add_argument("vm_names", nargs="*", metavar="VM", help="what is of these machines only (everything)")
    journal.add_argument(
        "--kind", action="append", metavar="KIND,...", help="these kinds of lines only, such as command,console"
    )
    journal.add_argument(
        "--since", metavar="TIME", help="what came later only: 90s, 5m, 2h or 3d ago, 14:30, or 2026-01-31 14:30"
    )
    journal.add_argument("--follow", action="store_true", help="go on until Ctrl-C")
    journal.add_argument("--schema", action="store_true", help="print the JSON Schema of a line in place of all that")
    journal.set_defaults(run=_journal)
    note = commands.add_parser("note")
    note.add_argument("--vm", metavar="VM", help="the machine that it is about")
    note.add_argument("text", nargs="+", metavar="TEXT", help="what to write; several words are one text")
    note.set_defaults(run=_note)


def _note(args: argparse.Namespace) -> None:
    the_prefix(args).note(" ".join(args.text), args.vm)


def _journal(args: argparse.Namespace) -> Outcome:
    from ..journal import kinds, reading

    if args.schema:
        return Outcome(kinds.json_schema())
    prefix = the_prefix(args)
    vms = {prefix.domain(name).name for name in args.vm_names}
    wanted = _wanted(args.kind or (), kinds.KINDS)
    since = None if args.since is None else instant(args.since, time.time())
    place = prefix.paths.prefix()
    found = reading.follow(place, since=since, all_of_it=True) if args.follow else reading.entries(place, since)
    lines = _meant(found, vms, wanted)
    if args.follow or args.out_format.name == "json" or args.out_format.for_people:
        show = for_people() if args.out_format.for_people else _formatted(args.out_format)
        with contextlib.suppress(KeyboardInterrupt):
            for line in lines:
                if (text := show(line)) is not None:
                    output.write(text, sys.stdout)
        return Outcome(None)
    return Outcome(list(lines))


def _wanted(words: Iterable[str], known: Iterable[str]) -> frozenset[str]:
    """The kinds that are meant. Raises LagoError."""
    from ..host.suggest import near

    found = [kind.strip() for word in words for kind in word.split(",") if kind.strip()]
    for kind in found:
        if kind not in known:
            raise LagoError(f"the journal has no kind {kind}", hint=near(kind, known))
    return frozenset(found)


def _meant(entries: Iterable[Entry], vms: set[str], wanted: frozenset[str]) -> Iterator[Entry]:
    """The lines that are wanted, and the ends of what is."""
    open_: set[str] = set()
    for entry in entries:
        name = entry.get("id")
        if entry["kind"] == "end":
            if name in open_ or not (vms or wanted) or (wanted and "end" in wanted):
                open_.discard(str(name))
                yield entry
            continue
        if vms and vms.isdisjoint(_machines(entry)):
            continue
        if wanted and entry["kind"] not in wanted:
            continue
        if name is not None:
            open_.add(name)
        yield entry


def _machines(entry: Entry) -> list[str]:
    """The machines that a line is about; a topology is about none of its own."""
    vm, vms = entry.get("vm"), entry.get("vms")
    return [*([vm] if isinstance(vm, str) else []), *(vms if isinstance(vms, list) else [])]


def instant(text: str, now: float) -> float:
    """An instant that somebody wrote: so long ago, a time of today, or a date; seconds since 1970. Raises LagoError."""
    if found := re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([smhd]?)(?:\s+ago)?", text.strip()):
        return now - float(found[1]) * _UNITS[found[2] or "s"]
    today = time.strftime("%Y-%m-%d ", time.localtime(now))
    for form, whole in [*((one, text) for one in _FORMS), *((f"%Y-%m-%d {one}", today + text) for one in _TODAY)]:
        with contextlib.suppress(ValueError, OverflowError):
            return time.mktime(time.strptime(whole.strip(), form))
    raise LagoError(f"{text} is no time", hint="90s, 5m, 2h or 3d for so long ago; 14:30; or 2026-01-31 14:30")


def _formatted(format_: output.Format) -> Callable[[Entry], str]:
    """Each line on its own, since nobody knows when the last one comes; JSON is one object a line."""
    import json

    def show(entry: Entry) -> str:
        return json.dumps(entry, ensure_ascii=False) if format_.name == "json" else format_.format(entry)

    return show


def for_people() -> Callable[[Entry], str | None]:
    """A line for people of each entry; the ends of what lasted are told with it, those without a word are not."""
    begun: dict[str, Entry] = {}

    def show(entry: Entry) -> str | None:
        if entry["kind"] in _CONTEXT:
            return None
        if entry["kind"] == "end":
            opening = begun.pop(entry["id"], None)
            if opening is None:
                return None
            return _line(entry["t"], opening.get("vm"), _ended(opening, entry))
        if "id" in entry:
            begun[entry["id"]] = entry
        return _line(entry["t"], entry.get("vm"), _told(entry))

    return show


def _line(when: float, vm: Any, text: str) -> str:
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))
    whole = f"{clock}.{int(when * 1000) % 1000:03d}  {f'{vm}: ' if vm else ''}{text}"
    return " ".join(whole[:_SHOWN].splitlines()) if "\n" in whole else whole[:_SHOWN]


def _told(entry: Entry) -> str:
    """What a line tells, in a few words."""
    kind = entry["kind"]
    words = _WORDS.get(kind)
    if words is None:
        rest = {key: value for key, value in entry.items() if key not in ("t", "kind", "id", "parent", "vm")}
        return " ".join([kind, *(f"{key}={value}" for key, value in rest.items())])
    return words(entry).rstrip()


def _of(entry: Mapping[str, Any], key: str) -> str:
    return str(entry.get(key) or "")


_WORDS: Final[Mapping[str, Callable[[Entry], str]]] = {
    "verb": lambda one: f"{_by(one)}{one['args'] if one.get('by') == 'cli' and one.get('args') else _call(one)}",
    "command": lambda one: f"$ {one['text']}{' (a terminal)' if one.get('tty') else ''}",
    "copy": lambda one: f"copy {one['direction']} it: {_of(one, 'source')} -> {_of(one, 'target')}",
    "script": lambda one: f"deploy script {one['path']}",
    "snapshot": lambda one: f"snapshot {one['name']}",
    "revert": lambda one: f"revert to {one['name']}",
    "delete-snapshot": lambda one: f"snapshot {one['name']} is removed",
    "fork": lambda one: f"fork to {one['to']}",
    "forked": lambda one: f"forked from {_of(one, 'from_path')} {_of(one, 'snapshot')}",
    "test": lambda one: f"test {one['nodeid']}",
    "phase": lambda one: f"test {one['nodeid']}: {one['phase']}",
    "state": lambda one: f"{one['state']} ({one['reason']})" if one.get("reason") else str(one["state"]),
    "ssh": lambda one: "ssh answers" if one["up"] else "the connection is lost",
    "lease": lambda one: f"has {one['ip']} on {_of(one, 'net')}",
    "console": lambda one: f"| {one['text']}",
    "fault": lambda one: f"fault {one['name']}: {one['words']}",
    "capture": lambda one: f"packets of {one['net']}: {one['file']}",
    "screen": lambda one: f"screen: {one['file']}",
    "note": lambda one: f"note: {one['text']}",
}


def _by(entry: Entry) -> str:
    return "lago " if entry.get("by") == "cli" else ""


def _call(entry: Entry) -> str:
    return f"{entry['name']}({_of(entry, 'args')})"


def _ended(opening: Entry, end: Entry) -> str:
    """How what lasted has ended."""
    told, seconds = _told(opening), max(0.0, end["t"] - opening["t"])
    how = end["outcome"]
    if opening["kind"] == "test" and end.get("result"):
        how = end["result"]
    elif opening["kind"] == "fault":
        how = "healed"
    code = f", status {end['code']}" if end.get("code") else ""
    why = f": {end['error']}" if end.get("error") else ""
    return f"{told} -> {how}{code} after {seconds:.3f} s{why}"
