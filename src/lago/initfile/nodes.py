"""YAML text to a tree of nodes that know where they stand, and YAML's complaints in words for people.

The tree is built from PyYAML's events rather than by its composer, which crashes on text that is nested deeply enough.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from . import placeholders

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")

_NULLS = frozenset(["", "~", "null", "Null", "NULL"])
_BOOLEANS = {
    spelling: value
    for word, value in {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}.items()
    for spelling in (word, word.capitalize(), word.upper())
}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]{1,3})?")

_TAG = "tag:yaml.org,2002:"
_TAGS = {
    yaml.ScalarEvent: ("str", "int", "float", "bool", "null"),
    yaml.SequenceStartEvent: ("seq",),
    yaml.MappingStartEvent: ("map",),
}


class SyntaxMistake(Exception):
    """The text is not YAML that we take; `line` and `column` count from 1."""

    def __init__(self, line: int, column: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.line = line
        self.column = column
        self.message = message
        self.hint = hint


@dataclass(slots=True, eq=False)
class Node:
    """A scalar (`text`), list (`items`) or mapping (`pairs`), beginning at `line` and `column`, both from 1.

    Attributes:
        start: offset in the text, that of its anchor or tag if it has one; `end` is behind its last character.
        style: of a scalar: nothing, the quote, or `|` or `>`.
        flow: a list or mapping in brackets or braces.
        spans: where the items, or in turn keys and values, stand; an alias stands there for a node elsewhere.
    """

    kind: type[str] | type[list[Any]] | type[dict[Any, Any]]
    line: int
    column: int
    anchor: str | None = None
    text: str = ""
    plain: bool = False
    items: Sequence[Node] = ()
    pairs: Sequence[tuple[Node, Node]] = ()
    start: int = 0
    end: int = 0
    style: str = ""
    flow: bool = False
    spans: Sequence[tuple[int, int]] = ()

    @property
    def scalar(self) -> str | int | float | bool | None:
        """The value of a scalar by YAML's rules, but dates, `1:30`, `010` and the like stay text."""
        if not self.plain:
            return self.text
        if self.text in _NULLS:
            return None
        if self.text in _BOOLEANS:
            return _BOOLEANS[self.text]
        if _INTEGER.fullmatch(self.text):
            return int(self.text)
        if _FLOAT.fullmatch(self.text):
            return float(self.text)
        return self.text


_TOO_DEEP = "the file is nested more than {} levels deep"


def compose(text: str, max_nodes: int, max_depth: int) -> Node | None:
    """Make the tree of `text`, None when it holds nothing.

    Raises:
        SyntaxMistake: it isn't YAML, or it holds more than `max_nodes` values or `max_depth` levels.
    """
    if found := _UNPRINTABLE.search(text):
        line, column = _position(text, found.start())
        raise SyntaxMistake(line, column, f"the character U+{ord(found[0]):04X} can't be in an init file", "remove it")
    if text.lstrip().startswith("{"):
        text = _from_json(text)
    loader = _LOADER(text)
    composer = _Composer(loader, text, max_nodes, max_depth)
    try:
        return composer.document()
    except yaml.MarkedYAMLError as error:
        if "nesting depth" in str(error.problem) and error.problem_mark:
            # PyYAML 6.0.4 has a limit too, and may look far ahead of us.
            mark = error.problem_mark
            raise SyntaxMistake(mark.line + 1, mark.column + 1, _TOO_DEEP.format(max_depth)) from None
        told = _explain(error, text)
        raise composer.placeholder(error.problem_mark.line + 1 if error.problem_mark else told.line) or told from None
    finally:
        loader.dispose()


def _position(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _from_json(text: str) -> str:
    """Spell what JSON allows and YAML may not: tabs between values, characters as pairs of `\\u` escapes."""

    def spell(part: re.Match[str]) -> str:
        if part[0].startswith("\t"):
            return " " * len(part[0])
        return re.sub(
            r"(?<!\\)((?:\\\\)*)(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})",
            lambda pair: pair[1] + json.loads(f'"{pair[2]}"'),
            part[0],
        )

    return re.sub(r'"(?:\\.|[^"\\])*"|\t+', spell, text)


class _Composer:
    def __init__(self, loader: Any, text: str, max_nodes: int, max_depth: int) -> None:
        self.loader = loader
        self.text = text
        self.max_nodes = max_nodes
        self.max_depth = max_depth
        self.anchors: dict[str, Node] = {}
        self.opaque: list[placeholders.Range] = []
        self.count = 0

    def document(self) -> Node | None:
        self.loader.get_event()
        if self.loader.check_event(yaml.StreamEndEvent):
            return None
        self.loader.get_event()
        root = self.node(self.loader.get_event(), 1)
        self.loader.get_event()
        if not self.loader.check_event(yaml.StreamEndEvent):
            mark = self.loader.peek_event().start_mark
            raise SyntaxMistake(
                mark.line + 1, mark.column + 1, "a second document begins here", "an init file is one; remove the ---"
            )
        return None if root.kind is str and root.plain and not root.text else root

    def node(self, event: Any, depth: int) -> Node:
        mark = event.start_mark
        line, column = mark.line + 1, mark.column + 1
        self.count += 1
        if self.count > self.max_nodes:
            raise SyntaxMistake(line, column, f"the file holds more than {self.max_nodes} values")
        if depth > self.max_depth:
            raise SyntaxMistake(line, column, _TOO_DEEP.format(self.max_depth))
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise SyntaxMistake(
                    line,
                    column,
                    f"*{event.anchor} stands for nothing",
                    f"put &{event.anchor} before the value that it shall stand for, which must end above this line",
                )
            return self.anchors[event.anchor]
        tag = ""
        if event.tag is not None:
            tag = event.tag.removeprefix(_TAG)
            if tag not in ("", "!", *_TAGS[type(event)]):
                spelling = event.tag.replace(_TAG, "!!")
                raise SyntaxMistake(
                    line, column, f"the YAML tag {spelling} has no meaning in an init file", "remove it"
                )
        node = Node(str, line, column, event.anchor, start=mark.index, end=event.end_mark.index)
        if isinstance(event, yaml.ScalarEvent):
            node.text = event.value
            node.plain = event.implicit[0] or tag not in ("", "!", "str")
            node.style = event.style or ""
            if event.style and (end := event.end_mark):
                self.opaque.append(((line, column), (end.line + 1, end.column + 1)))
        elif isinstance(event, yaml.SequenceStartEvent):
            node.kind = list
            node.items = list(self._until(yaml.SequenceEndEvent, event, node, depth + 1))
        else:
            node.kind = dict
            nodes = self._until(yaml.MappingEndEvent, event, node, depth + 1)
            node.pairs = list(zip(nodes, nodes, strict=True))
            # In YAML `{{ name }}` is a mapping with a mapping as its key.
            doubled = any(key.kind is dict and (key.line, key.column) == (line, column + 1) for key, _ in node.pairs)
            if doubled and (fault := self.placeholder(line)):
                raise fault
        if node.anchor:
            self.anchors[node.anchor] = node
        return node

    def placeholder(self, last_line: int) -> SyntaxMistake | None:
        """What is wrong with a file that has placeholders, as far as that line; None if it has none."""
        found = placeholders.first(self.text, last_line, self.opaque)
        return SyntaxMistake(*found) if found else None

    def _until(self, end: type[Any], begin: Any, above: Node, depth: int) -> Iterator[Node]:
        """What is in a list or mapping; notes where it stands."""
        spans: list[tuple[int, int]] = []
        while type(event := self.loader.get_event()) is not end:
            node = self.node(event, depth)
            alias = isinstance(event, yaml.AliasEvent)
            spans.append((event.start_mark.index, event.end_mark.index if alias else node.end))
            yield node
        above.flow = bool(begin.flow_style)
        # The end of one without brackets is only noticed where the next thing begins.
        above.end = event.end_mark.index if above.flow or not spans else spans[-1][1]
        above.spans = spans


def _explain(error: yaml.MarkedYAMLError, text: str) -> SyntaxMistake:
    mark, begin = error.problem_mark or error.context_mark, error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    since = f"that begins at {begin.line + 1}:{begin.column + 1}" if begin else "above"
    problem = error.problem or error.context or "unknown mistake"
    lines = text.splitlines()
    here = lines[line - 1][column - 1 : column] if line <= len(lines) else ""
    for pattern, message, hint in _WORDS:
        if re.search(pattern, f"{error.context}: {problem}"):
            where = {"here": json.dumps(here, ensure_ascii=False) if here else "the end", "since": since}
            # An open quote is noticed at the end of the file; what helps is where it begins.
            if "quote" in message and begin:
                line, column = begin.line + 1, begin.column + 1
            if here == "\t" and "can't begin" in message:
                message, hint = "a tab can't indent YAML", "write spaces"
            return SyntaxMistake(line, column, message.format(**where), hint.format(**where))
    return SyntaxMistake(line, column, f"this is not YAML: {problem}")


_WORDS = (
    (
        "cannot start any token",
        "a value can't begin with {here}",
        'put quotes around it: "..."',
    ),
    (
        "mapping values are not allowed",
        "a : is not expected here",
        "indent keys of one mapping alike; put quotes around text that holds a colon",
    ),
    (
        "',' or '}'",
        "expected , or }} in the mapping {since}, found {here}",
        "write a comma between entries and close the mapping with }}",
    ),
    (
        "',' or ']'",
        "expected , or ] in the list {since}, found {here}",
        "write a comma between items and close the list with ]",
    ),
    (
        "block mapping: .*(expected key|block end)",
        "expected a key of the mapping {since}, found {here}",
        "indent keys of one mapping alike",
    ),
    (
        "block (collection|sequence): .*('-' indicator|block end)",
        "expected another - item of the list {since}, found {here}",
        "indent items of one list alike",
    ),
    (
        "could not find expected ':'|expected ':'",
        "expected a : after the key {since}",
        "write `key: value`",
    ),
    (
        "unexpected end of stream",
        "the quote that begins here is never closed",
        "close it",
    ),
    (
        "expected (the )?node content",
        "expected a value, found {here}",
        "write a value, or close what is open",
    ),
    (
        "unknown escape character",
        "this \\ sequence has no meaning in double quotes",
        "write \\\\ for a backslash, or use single quotes",
    ),
    (
        "found duplicate anchor",
        "this &name is given twice",
        "choose another name for one of them",
    ),
)
