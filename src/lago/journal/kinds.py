"""What the lines of a journal have: every kind of them, and every key of each, with its type.

The manual's table, the JSON Schema and what readers take are made of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

VERSION: Final = 1
"""Of the form. It grows when a kind or a key comes to mean something else; new ones leave it as it is."""

OUTCOMES: Final = ("ok", "failed", "interrupted")

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "text": (str,),
    "number": (int, float),
    "whole": (int,),
    "flag": (bool,),
    "list": (list,),
    "object": (dict,),
}
_SCHEMA_TYPES: Final = {
    "text": "string",
    "number": "number",
    "whole": "integer",
    "flag": "boolean",
    "list": "array",
    "object": "object",
}


class Key(NamedTuple):
    """What a key has.

    Attributes:
        type: `text`, `number`, `whole`, `flag`, `list` (of texts) or `object`.
        help: what it says.
        needed: whether a line of its kind always has it.
    """

    type: str
    help: str
    needed: bool = False


class Kind(NamedTuple):
    """A kind of lines.

    Attributes:
        help: what such a line tells.
        keys: what it has besides `t`, `kind` and, if it is a span, `id` and `parent`.
        span: whether it lasts: a line of the kind `end` with the same `id` closes it.
        end: what that line has besides `outcome`.
    """

    help: str
    keys: Mapping[str, Key]
    span: bool = False
    end: Mapping[str, Key] = MappingProxyType({})


_VM: Final = Key("text", "the machine, by its name in the init file", True)
_NAME: Final = Key("text", "its name", True)
_VMS: Final = Key("list", "the machines that it is of")

ALWAYS: Final[Mapping[str, Key]] = {
    "t": Key("number", "when it happened: seconds since 1970, with microseconds", True),
    "kind": Key("text", "which kind of line it is", True),
    "id": Key("text", "of what lasts: what its end names it by; no other line of this or another journal has it"),
    "parent": Key("text", "the `id` of what it is a part of"),
    "cut": Key("flag", "whether something of this line was left out, since it was too long"),
}
"""Keys that lines of every kind may have."""

KINDS: Final[Mapping[str, Kind]] = {
    "journal": Kind(
        "the first line of each file",
        {
            "version": Key("whole", f"of this form: {VERSION}", True),
            "prefix": Key("text", "uuid of the environment"),
            "name": Key("text", "name of its directory"),
            "path": Key("text", "its directory"),
            "lago": Key("text", "version of Lago"),
            "pid": Key("whole", "the process that began the file"),
        },
    ),
    "topology": Kind(
        "the environment as it is from then on; each file begins with it too",
        {
            "vms": Key("object", "machines by name: `nics` (`net`, `ip`, `mac`), `groups`, `template`, `distro`", True),
            "nets": Key("object", "nets by name: `type`, `gw`, `subnet`, `management`", True),
        },
    ),
    "verb": Kind(
        "something was done with the environment: a command of `lago`, or a call of a program",
        {
            "name": Key("text", "the command or the method", True),
            "args": Key("text", "with what"),
            "by": Key("text", "`cli`, `sdk` or `pytest`"),
        },
        True,
        {"code": Key("whole", "exit status of the command"), "error": Key("text", "why it failed")},
    ),
    "command": Kind(
        "a command in a guest",
        {
            "vm": _VM,
            "text": Key("text", "the command", True),
            "user": Key("text", "who ran it there"),
            "tty": Key("flag", "whether it had a terminal; what was said there is not kept"),
        },
        True,
        {
            "code": Key("whole", "its exit status"),
            "out_first": Key("text", "its output, the first 4 KiB"),
            "out_last": Key("text", "the last 4 KiB, if there was more"),
            "err_first": Key("text", "its error output, the first 4 KiB"),
            "err_last": Key("text", "the last 4 KiB, if there was more"),
            "out_bytes": Key("whole", "size of its output"),
            "err_bytes": Key("whole", "size of its error output"),
            "error": Key("text", "why it could not be run, or was not waited for"),
        },
    ),
    "copy": Kind(
        "files were copied to or from a machine",
        {
            "vm": _VM,
            "direction": Key("text", "`to` or `from` the machine", True),
            "source": Key("text", "what was copied"),
            "target": Key("text", "where to"),
        },
        True,
        {
            "bytes": Key("whole", "how much"),
            "files": Key("whole", "how many files"),
            "error": Key("text", "why it failed"),
        },
    ),
    "script": Kind(
        "a deploy script ran on a machine",
        {"vm": _VM, "path": Key("text", "the script", True)},
        True,
        {"code": Key("whole", "its exit status"), "error": Key("text", "why it failed")},
    ),
    "snapshot": Kind(
        "a snapshot was taken", {"name": _NAME, "vms": _VMS}, True, {"error": Key("text", "why it failed")}
    ),
    "revert": Kind(
        "machines went back to a snapshot", {"name": _NAME, "vms": _VMS}, True, {"error": Key("text", "why it failed")}
    ),
    "delete-snapshot": Kind(
        "a snapshot was removed", {"name": _NAME, "vms": _VMS}, True, {"error": Key("text", "why it failed")}
    ),
    "fork": Kind(
        "a copy of the environment was made",
        {
            "name": Key("text", "the snapshot that it began with, if one was named"),
            "to": Key("text", "its directory", True),
            "to_prefix": Key("text", "its uuid"),
        },
        True,
        {"to_prefix": Key("text", "its uuid"), "error": Key("text", "why it failed")},
    ),
    "forked": Kind(
        "this environment began as a copy of another one",
        {
            "from_prefix": Key("text", "uuid of the other one", True),
            "from_path": Key("text", "its directory"),
            "snapshot": Key("text", "the snapshot that this one began with, if one was named"),
        },
    ),
    "test": Kind(
        "a test of pytest ran",
        {"nodeid": Key("text", "the test", True)},
        True,
        {
            "result": Key("text", "`passed`, `failed`, `skipped` or `error`"),
            "phase": Key("text", "where that was decided: `setup`, `call` or `teardown`"),
            "message": Key("text", "what it said, in short"),
        },
    ),
    "phase": Kind(
        "a phase of a test began",
        {"nodeid": Key("text", "the test", True), "phase": Key("text", "`setup`, `call` or `teardown`", True)},
    ),
    "state": Kind(
        "a machine's state changed",
        {
            "vm": _VM,
            "state": Key("text", "in a word: `running`, `paused`, `crashed`, `shut off`", True),
            "reason": Key("text", "why, as libvirt says it"),
        },
    ),
    "ssh": Kind(
        "a machine can be logged in to, or the connection to it was lost",
        {"vm": _VM, "up": Key("flag", "whether there is a connection now", True)},
    ),
    "lease": Kind(
        "a machine was given an address",
        {
            "vm": _VM,
            "net": Key("text", "on which net"),
            "ip": Key("text", "the address", True),
            "mac": Key("text", "of which interface"),
            "hostname": Key("text", "what the guest calls itself"),
        },
    ),
    "console": Kind(
        "a machine said a line on its console",
        {
            "vm": _VM,
            "text": Key("text", "the line, at most 4 KiB of it; of bytes that are no UTF-8 stands U+FFFD there", True),
            "left_out": Key("whole", "bytes that were left out before, since it said more than a journal is for"),
        },
    ),
    "fault": Kind(
        "something was broken on purpose; its end is that it was healed",
        {
            "name": _NAME,
            "what": Key("text", "which kind of fault"),
            "words": Key("text", "as `lago fault` is told it", True),
            "targets": Key("list", "what it is about"),
        },
        True,
    ),
    "capture": Kind(
        "packets of a net were recorded",
        {"net": Key("text", "the net", True), "file": Key("text", "where, in the environment's directory", True)},
        True,
        {
            "packets": Key("whole", "how many"),
            "dropped": Key("whole", "how many more there were, for which there was no time"),
            "error": Key("text", "why it ended early"),
        },
    ),
    "screen": Kind(
        "what a machine's screen showed was kept",
        {
            "vm": _VM,
            "file": Key("text", "where; relative to the environment's directory if it is in there", True),
            "form": Key("text", "`png` or `txt`"),
        },
    ),
    "note": Kind(
        "somebody wrote this down: `lago note`, `Env.note`",
        {"text": Key("text", "what", True), "vm": Key("text", "the machine that it is about")},
    ),
    "end": Kind(
        "what lasted is over; it has the keys of the kind that it ends, too",
        {"id": Key("text", "what", True), "outcome": Key("text", "`ok`, `failed` or `interrupted`", True)},
    ),
}
"""By name. Readers pass over kinds and keys that they do not know."""

_KNOWN: Final[Mapping[str, Mapping[str, tuple[type, ...]]]] = {
    name: {
        key: _TYPES[one.type]
        for keys in (ALWAYS, kind.keys, *([k.end for k in KINDS.values()] if name == "end" else []))
        for key, one in keys.items()
    }
    for name, kind in KINDS.items()
}
_NEEDED: Final = {
    name: [key for key, one in {**ALWAYS, **kind.keys}.items() if one.needed] for name, kind in KINDS.items()
}


def checked(entry: dict[str, Any]) -> dict[str, Any] | None:
    """A line without what has another type than its key; None if it is none, such as for want of a key."""
    when, kind = entry.get("t"), entry.get("kind")
    if not isinstance(when, int | float) or isinstance(when, bool) or not 0 <= when < 1 << 40:
        return None
    if not isinstance(kind, str):
        return None
    entry["t"] = float(when)
    types = _KNOWN.get(kind)
    if types is None:
        return entry
    wrong = [key for key, value in entry.items() if key in types and not _is(value, types[key])]
    for key in wrong:
        del entry[key]
    if any(key not in entry for key in _NEEDED[kind]):
        return None
    return entry


def _is(value: Any, types: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in types
    if isinstance(value, list):
        return list in types and all(isinstance(one, str) for one in value)
    if isinstance(value, int):
        return int in types and abs(value) < 1 << 63
    return isinstance(value, types)


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a line of a journal."""
    kinds = [_schema_of(name, kind) for name, kind in KINDS.items()]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of an environment's journal",
        "description": f"Version {VERSION}. Lines of other kinds, and other keys, may come and are to be passed over.",
        "type": "object",
        "properties": {key: _schema_key(one) for key, one in ALWAYS.items()},
        "required": ["t", "kind"],
        "allOf": kinds,
    }


def _schema_of(name: str, kind: Kind) -> dict[str, Any]:
    keys = dict(kind.keys)
    if name == "end":
        for other in KINDS.values():
            keys |= {key: one for key, one in other.end.items() if key not in keys}
    properties = {key: _schema_key(one) for key, one in keys.items()}
    if name == "end":
        properties["outcome"] = {**properties["outcome"], "enum": list(OUTCOMES)}
    needed = [key for key, one in keys.items() if one.needed] + (["id"] if kind.span else [])
    return {
        "if": {"properties": {"kind": {"const": name}}, "required": ["kind"]},
        "then": {"description": kind.help, "properties": properties, "required": needed},
    }


def _schema_key(key: Key) -> dict[str, Any]:
    found: dict[str, Any] = {"type": _SCHEMA_TYPES[key.type], "description": key.help}
    return {**found, "items": {"type": "string"}} if key.type == "list" else found
