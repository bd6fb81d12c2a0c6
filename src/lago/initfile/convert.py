"""An older init file in today's form: text is changed where it must be, and all else stays as it is written.

What an older file may have, and what is known today, `keys` says. A key that Lago never knew becomes `x-KEY`: it was
ignored, and still is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from ..errors import InitFileError, InternalError, LagoError
from ..host.suggest import near
from ..log import LOG
from ..topology.spec import DiskSpec, EnvSpec
from .document import BYTE_ORDER_MARK, loads, tree
from .edits import Edit, Source, Span
from .keys import DOMAIN, ENVIRONMENT
from .nodes import Node
from .parse import parse
from .sections import ListOf, MappingOf, Reader, Respelled, Section, remark
from .specs import unused
from .stand_ins import hide

_TELLING: Final = frozenset(["path", "template_name", "template_type", "type", "url", *DOMAIN.renamed.values()])
"""Keys on which it depends what becomes of others."""


class Change(NamedTuple):
    """One change to a file; `new` is None where something was removed.

    Attributes:
        line: and `column`, from 1, of `old` in the file as it was.
    """

    line: int
    column: int
    old: str
    new: str | None
    why: str


class Converted(NamedTuple):
    """The text of an init file in today's form, and what was changed, in its order."""

    text: str
    changes: tuple[Change, ...]


def convert(text: str, name: str) -> Converted:
    """Write an init file in today's form. One that is in it already stays as it is, and what one means does not change.

    What would have to be guessed, such as a key that is nearly one of ours, stays for `lago validate`. In a file that
    is filled in by a program first, placeholders (`{{ x }}`, `{% if x %}`, `@X@`) stay as they are.

    Args:
        name: what messages call the file.

    Raises:
        InitFileError: the text isn't an init file at all, or not before it is filled in.
        LagoError: it would mean something else, as can be where mappings are merged that have old and new names.
    """
    mark = BYTE_ORDER_MARK if text.startswith(BYTE_ORDER_MARK) else ""
    new, changes = _converted(text.removeprefix(mark), name)
    if changes:
        if _converted(new, name).changes:
            raise InternalError(f"{name}: its new form would not be the last; nothing was written")
        if (before := _meaning(text, name)) and before != _meaning(new, name):
            message = f"{name}: in today's form it would mean something else; nothing was written"
            raise LagoError(message, hint="change it by hand, as lago validate says")
    return Converted(mark + new, changes)


def _converted(text: str, name: str) -> Converted:
    hidden = hide(text)
    try:
        root = tree(_with_plain_escapes(hidden.text), name)
    except InitFileError as error:
        if hidden.text == text:
            raise
        error.hint = "placeholders are in it: have it filled in first, then convert that; nothing was written"
        raise
    conversion = _Conversion(Source(text, root), branches=hidden.branches)
    edits, changes = conversion.result()
    return Converted(conversion.source.changed(edits), tuple(sorted(changes, key=lambda change: change[:2])))


def _with_plain_escapes(text: str) -> str:
    """Text in which no pair of escapes makes one character, which would move all behind it."""
    if not text.lstrip().startswith("{"):
        return text
    return re.sub(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}", r"\\uFFFD", text)


def _meaning(text: str, name: str) -> EnvSpec | None:
    """What a file means today; None if it can't be read."""
    # Its warnings would be told twice, and not of what is written.
    LOG.addFilter(_silence)
    try:
        return parse(loads(text, name))
    except InitFileError:
        return None
    finally:
        LOG.removeFilter(_silence)


def _silence(_record: object) -> bool:
    return False


class _Step(NamedTuple):
    """What becomes of an entry: its key is `new`, or it is removed."""

    new: str | None
    why: str


class _Conversion:
    """Finds what is to change.

    A node that is used in several ways, by an alias, is changed only where all of them want the same.
    """

    def __init__(self, source: Source, *, branches: bool) -> None:
        self.source = source
        self._branches = branches
        self._telling: dict[int, dict[str, str]] = {}
        self._sections: dict[int, tuple[Node, Section, dict[int, _Step]]] = {}
        self._values: dict[int, tuple[Node, set[tuple[str, str] | None]]] = {}
        self._mixed: set[int] = set()
        self._data: set[int] = set()
        self._near: dict[tuple[type[Any], str], bool] = {}
        self._edits: list[Edit] = []
        self._changes: list[Change] = []
        self._only_anchors = frozenset(_only_anchors(source.root))

    def result(self) -> tuple[list[Edit], list[Change]]:
        """Return all edits, and the changes that they make."""
        self._tell(self.source.root)
        self._walk(self.source.root)
        for node, _, steps in self._sections.values():
            if id(node) not in self._mixed | self._data:
                self._entries(node, steps)
        for node, wanted in self._values.values():
            if len(wanted) == 1 and id(node) not in self._data and (one := next(iter(wanted))):
                self._change(Edit(self.source.content(node), node.end, one[0]), one[1])
        return self._edits, self._changes

    def _tell(self, node: Node) -> None:
        """Note what mappings have of the keys that decide about others, in the order of the text."""
        if id(node) in self._telling:
            return
        merged: dict[str, str] = {}
        own: dict[str, str] = {}
        self._telling[id(node)] = own
        for item in node.items:
            self._tell(item)
        for key, value in node.pairs:
            self._tell(key)
            self._tell(value)
            if _merges(key):
                for one in _merged(value):
                    for name, text in self._telling.get(id(one), {}).items():
                        merged.setdefault(name, text)
            elif key.text in _TELLING:
                own[key.text] = value.text
        self._telling[id(node)] = {**merged, **own}

    def _walk(self, root: Node) -> None:
        waiting: list[tuple[Node, Reader | None]] = [(root, ENVIRONMENT)]
        seen: set[tuple[int, int]] = set()
        while waiting:
            node, reader = waiting.pop()
            if (id(node), id(reader)) in seen:
                continue
            seen.add((id(node), id(reader)))
            if isinstance(reader, Section) and node.kind is dict:
                waiting += self._section(node, reader)
            elif isinstance(reader, MappingOf) and node.kind is dict:
                waiting += _named(node, reader)
            elif isinstance(reader, ListOf) and node.kind is list:
                waiting += ((item, reader.item) for item in node.items)
            elif node.kind is str and reader is not None:
                if not isinstance(reader, Section | MappingOf | ListOf):
                    self._want(node, _spelling(node, reader))
            else:
                self._data.add(id(node))
                waiting += ((one, None) for one in (*node.items, *(one for pair in node.pairs for one in pair)))

    def _section(self, node: Node, section: Section) -> Iterator[tuple[Node, Reader | None]]:
        steps = self._steps(node, section)
        if self._sections.setdefault(id(node), (node, section, steps))[1] is not section:
            self._mixed.add(id(node))
        for index, (key, value) in enumerate(node.pairs):
            if _merges(key):
                yield from ((one, section) for one in _merged(value))
                continue
            name = (steps[index].new or "") if index in steps else key.text
            if name not in section.fields:
                continue
            yield value, section.fields[name].reader

    def _want(self, node: Node, wanted: tuple[str, str] | None) -> None:
        if wanted and not self.source.written(node, (node.start, node.end)):
            wanted = None
        self._values.setdefault(id(node), (node, set()))[1].add(wanted)

    def _steps(self, node: Node, section: Section) -> dict[int, _Step]:
        own = {key.text for key, _ in node.pairs}
        steps = {}
        for index, (key, _) in enumerate(node.pairs):
            if key.kind is not str or _merges(key) or remark(key.text):
                continue
            step = self._step(key.text, section, self._telling[id(node)], top=node is self.source.root)
            if step is not None and (step.new is None or step.new not in own):
                steps[index] = step
        return steps

    def _step(self, key: str, section: Section, telling: Mapping[str, str], *, top: bool) -> _Step | None:
        if new := section.renamed.get(key):
            if new not in telling:
                return _Step(new, "its name today")
            return None if self._branches else _Step(None, f"{new} says it")
        if idle := section.idle.get(key):
            return _Step(f"x-{key}" if idle.keep else None, idle.why)
        if section.spec is DiskSpec and not self._branches and (why := unused(key, _of_today(telling, section))):
            return _Step(None, why)
        if key in section.fields or key in section.gone:
            return None
        if top and key in self._only_anchors:
            return _Step(f"x-{key}", "only its anchors are used")
        return None if self._nearly(key, section) else _Step(f"x-{key}", "Lago knows no such key and ignores it")

    def _nearly(self, key: str, section: Section) -> bool:
        """Whether a key is probably one of ours, misspelt."""
        found = self._near.get((section.spec, key))
        if found is None:
            found = self._near[section.spec, key] = near(key, section.fields).endswith("?")
        return found

    def _entries(self, node: Node, steps: Mapping[int, _Step]) -> None:
        own = {key.text for key, _ in node.pairs}
        gone = {index for index, step in steps.items() if step.new is None}
        cuts = self.source.cuts(node, gone) if gone else {}
        for index, step in steps.items():
            key, new = node.pairs[index][0], step.new or f"x-{node.pairs[index][0].text}"
            if index in cuts:
                self._change(cuts[index], step.why, self.source.entry(node, index))
            elif new not in own and not key.anchor and self.source.written(key, node.spans[2 * index]):
                # Whoever uses a key's text by its anchor would want the old one.
                why = step.why if step.new else f"{step.why}, so it is ignored"
                self._change(Edit(key.start, key.end, f"{key.style}{new}{key.style}"), why)

    def _change(self, edit: Edit, why: str, whole: Span | None = None) -> None:
        """Note a change; `whole` is what it removes."""
        start, end = whole or (edit.start, edit.end)
        line, column = self.source.position(start)
        self._edits.append(edit)
        told = None if whole else edit.new
        self._changes.append(Change(line, column, self.source.shown(start, end), told, why))


def _merges(key: Node) -> bool:
    return key.plain and key.text == "<<"


def _merged(value: Node) -> Iterable[Node]:
    return value.items if value.kind is list else (value,)


def _named(node: Node, reader: MappingOf) -> Iterator[tuple[Node, Reader | None]]:
    """The values of a mapping by names, and what it merges."""
    section = isinstance(reader.item, Section)
    for key, value in node.pairs:
        if _merges(key):
            yield from ((one, reader) for one in _merged(value))
        elif not (section and remark(key.text)) or (key.text == "comment" and value.kind is dict):
            yield value, reader.item


def _of_today(telling: Mapping[str, str], section: Section) -> Mapping[str, str]:
    """What is told of the keys of a disk, its type by its name of today."""
    reader, kind = section.fields["type"].reader, telling.get("type", "")
    today = reader.today(kind) if isinstance(reader, Respelled) else None
    return {**telling, "type": str(today[0])} if today else telling


def _spelling(node: Node, reader: Reader) -> tuple[str, str] | None:
    """How a value is to be written, and why; None if it is written so."""
    today = reader.today(node.scalar) if isinstance(reader, Respelled) else None
    if today is None:
        return None
    new, why = today
    return (f"{new}".lower() if isinstance(new, bool) else f"{node.style}{new}{node.style}"), why


def _only_anchors(root: Node) -> Iterator[str]:
    """The top-level keys of which something is used again, by an alias, under another one."""
    tops = [(key.text, span) for (key, _), span in zip(root.pairs, root.spans[1::2], strict=True)]
    home: dict[int, str] = {}
    for (_, top), (name, span) in zip(root.pairs, tops, strict=True):
        waiting = [(top, span)]
        while waiting:
            node, here = waiting.pop()
            if here != (node.start, node.end):
                if (first := home.get(id(node), name)) != name:
                    yield first
                continue
            if node.anchor:
                home[id(node)] = name
            below = node.items or [one for pair in node.pairs for one in pair]
            waiting += reversed(list(zip(below, node.spans, strict=True)))
