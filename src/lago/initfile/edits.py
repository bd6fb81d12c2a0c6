"""Changes to the text of an init file at the places of its nodes; whatever they do not name stays as it is."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from .nodes import Node

# YAML ends lines at these, too.
_BREAK: Final = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_REST: Final = re.compile("[ \t]*(#[^\r\n\x85\u2028\u2029]*)?(\r\n|[\r\n\x85\u2028\u2029]|\\Z)")
_BLANK: Final = re.compile(r"[ \t\r\n]*")
_COMMA: Final = re.compile(r"[ \t\r\n]*,[ \t\r\n]*")
_ANCHOR: Final = re.compile(r"&\S+[ \t]+")
_DASHES: Final = re.compile(r" *(-[ \t]+)+")

Span = tuple[int, int]


class Edit(NamedTuple):
    """Put `new` in the place of what stands from offset `start` to before `end`."""

    start: int
    end: int
    new: str


class Source:
    """The text of an init file, which is changed where its nodes stand."""

    def __init__(self, text: str, root: Node) -> None:
        self.text = text
        self.root = root
        self._lines = [0, *(found.end() for found in _BREAK.finditer(text))]
        nodes = list(_standing(root))
        self._fixed = sorted(node.start for node in nodes if node.anchor or node.style in ("|", ">"))

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1, of an offset."""
        line = bisect_right(self._lines, offset)
        return line, offset - self._lines[line - 1] + 1

    def changed(self, edits: Iterable[Edit]) -> str:
        """Return the text with edits, of which none touches another."""
        parts, at = [], 0
        for start, end, new in sorted(edits):
            parts += [self.text[at:start], new]
            at = end
        return "".join([*parts, self.text[at:]])

    def shown(self, start: int, end: int) -> str:
        """Return what stands there, for people: its first line, cut when long."""
        whole = self.text[start:end]
        first = _BREAK.split(whole, maxsplit=1)[0].rstrip()[:60]
        return first if len(first) == len(whole) else f"{first} ..."

    def entry(self, node: Node, index: int) -> Span:
        """Return where an entry of a mapping stands, from its key to the end of its value."""
        (start, behind), (_, end) = node.spans[2 * index : 2 * index + 2]
        return start, max(behind, end)

    def content(self, node: Node) -> int:
        """Return the offset of what stands behind the anchor of a node."""
        found = _ANCHOR.match(self.text, node.start) if node.anchor else None
        return found.end() if found else node.start

    def written(self, node: Node, span: Span) -> bool:
        """Whether a scalar stands here as itself: not by an alias, with a tag, placeholder, escapes or line breaks."""
        if node.kind is not str or span != (node.start, node.end) or node.style not in ("", "'", '"'):
            return False
        here = self.text[self.content(node) : node.end]
        return bool(here) and here == f"{node.style}{node.text}{node.style}"

    def line_start(self, offset: int) -> int:
        """Where the line begins."""
        return self._lines[bisect_right(self._lines, offset) - 1]

    def cuts(self, node: Node, wanted: Collection[int]) -> dict[int, Edit]:
        """Return what removes entries of a mapping, by index; without those that can't be removed simply.

        Comments behind an entry stay. One in braces that has some beside it is not removed.
        """
        entries = [self.entry(node, index) for index in range(len(node.pairs))]
        if node.flow and node.end == entries[-1][1]:
            return {}  # An item of a list, as in [a: b], has no braces that could stay.
        ready = {index for index in wanted if self._free(*entries[index])}
        return self._from_braces(entries, ready) if node.flow else dict(self._from_lines(entries, ready))

    def _free(self, start: int, end: int) -> bool:
        """Whether what stands there has no anchor that others may want, no text in lines of its own, no statement."""
        fixed = bisect_left(self._fixed, start) != bisect_left(self._fixed, end)
        return not fixed and self.text.find("{%", start, end) < 0

    def _from_braces(self, entries: list[Span], cut: Collection[int]) -> dict[int, Edit]:
        kept = [index for index in range(len(entries)) if index not in cut]
        last = kept[-1] if kept else -1
        found = {}
        for index in sorted(cut):
            start, end = entries[index]
            if index < last and self._begins(start) and _COMMA.fullmatch(self.text, end, entries[index + 1][0]):
                found[index] = Edit(start, entries[index + 1][0], "")
        # Those behind the last that is kept go together, with the comma before them.
        tail = entries[last + 1 :]
        gaps = pairwise(entries[max(last, 0) :])
        if tail and self._begins(tail[0][0]) and all(_COMMA.fullmatch(self.text, a[1], b[0]) for a, b in gaps):
            begin, end = entries[last][1] if kept else tail[0][0], tail[-1][1]
            if not kept and (comma := _COMMA.match(self.text, end)):
                end = comma.end()
            found[last + 1] = Edit(begin, end, "")
            found.update({index: Edit(end, end, "") for index in range(last + 2, len(entries))})
        return found

    def _begins(self, start: int) -> bool:
        """Whether the entry of a mapping in braces begins there, and not with a question mark before."""
        while start and self.text[start - 1] in " \t\r\n":
            start -= 1
        return self.text[start - 1 : start] in ("{", ",")

    def _from_lines(self, entries: list[Span], cut: Collection[int]) -> Iterator[tuple[int, Edit]]:
        if len(cut) == len(entries):
            return
        head = True
        for index in sorted(cut):
            start, end = entries[index]
            begin = self.line_start(start)
            before, rest = self.text[begin:start], _REST.match(self.text, end)
            dash = before.rstrip(" \t")
            # What follows a dash: the next entry takes its place.
            head = head and (index == 0 or index - 1 in cut) and bool(index or _DASHES.fullmatch(before))
            if head and index + 1 < len(entries) and _BLANK.fullmatch(self.text, end, entries[index + 1][0]):
                yield index, Edit(start, entries[index + 1][0], "")
            elif head and rest:
                # Comments come before that: the dash keeps its line.
                head = False
                yield index, Edit(start, rest.start(1), "") if rest[1] else Edit(begin + len(dash), rest.start(2), "")
            elif head:
                return
            elif rest and not before.strip(" "):
                yield index, Edit(start, rest.start(1), "") if rest[1] else Edit(begin, rest.end(), "")


def _standing(root: Node) -> Iterator[Node]:
    """The nodes of a tree, each once, where it stands."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        below = node.items or [one for pair in node.pairs for one in pair]
        waiting += [one for one, span in zip(below, node.spans, strict=True) if span == (one.start, one.end)]
