"""What a journal's lines are about, by time: what lasted together with its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from ..journal.kinds import KINDS

Entry = Mapping[str, Any]

_TITLES: Final[Mapping[str, tuple[str, ...]]] = {
    "test": ("nodeid",),
    "phase": ("phase",),
    "verb": ("name", "args"),
    "command": ("text",),
    "script": ("path",),
    "copy": ("direction", "source", "target"),
    "console": ("text",),
    "state": ("state",),
    "fault": ("words",),
    "capture": ("net", "file"),
    "lease": ("net", "ip"),
    "screen": ("file",),
    "note": ("text",),
    "forked": ("from_path", "snapshot"),
}
"""The keys whose values say what a line of a kind is about, in this order; of others its name does."""


class Timed(NamedTuple):
    """Something that happened at an instant, or that lasted.

    Attributes:
        opening: its line, or its first.
        ending: its last line, of what lasted.
    """

    opening: Entry
    ending: Entry | None

    @property
    def t(self) -> float:
        """When it happened, or began: seconds since 1970."""
        return float(self.opening["t"])

    @property
    def end(self) -> float | None:
        """When it was over, if that was seen."""
        return None if self.ending is None else max(self.t, float(self.ending["t"]))

    @property
    def lasts(self) -> bool:
        """Whether it is something that lasts."""
        kind = KINDS.get(self.opening["kind"])
        return kind is not None and kind.span and "id" in self.opening

    @property
    def vm(self) -> str:
        """The machine, or an empty name."""
        return str(self.opening.get("vm", ""))

    @property
    def failed(self) -> bool:
        """Whether it ended badly."""
        return self.ending is not None and (self.ending["outcome"] == "failed" or bool(self.ending.get("code")))


def of(entries: Iterable[Entry]) -> list[Timed]:
    """Return what happened, in the order of time.

    Args:
        entries: a journal.
    """
    found: list[Entry] = []
    ends: dict[str, Entry] = {}
    for entry in entries:
        if entry["kind"] == "end":
            ends.setdefault(entry["id"], entry)
        else:
            found.append(entry)
    return [Timed(entry, ends.get(entry.get("id", ""))) for entry in sorted(found, key=lambda one: float(one["t"]))]


def title(item: Timed) -> str:
    """Return in a line what it is about."""
    kind = item.opening["kind"]
    if kind == "ssh":
        return "ssh answers" if item.opening.get("up") else "ssh is gone"
    if kind == "verb" and str(item.opening.get("args", "")).partition(" ")[0] == item.opening["name"]:
        return str(item.opening["args"])
    keys = _TITLES.get(kind)
    words = [str(item.opening[key]) for key in keys or ("name",) if item.opening.get(key)]
    return " ".join(words if keys else [kind, *words])
