"""Stage 1: the text of an init file, YAML or JSON, to plain data that remembers where everything stands.

Mistakes of the text as a whole (it is not there, not YAML, no mapping) are raised. Mistakes at one place of it, such as
a key that is there twice, are `Document.mistakes`: `parse` reports them together with those that it finds.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..errors import Finding, InitFileError
from ..topology.place import KeyPath, Place

if TYPE_CHECKING:
    from .nodes import Node

BYTE_ORDER_MARK = "\ufeff"
MAX_NODES = 200_000
MAX_DEPTH = 64

_EXAMPLE = "an init file names machines and networks, such as: {domains: {vm0: {nics: [{net: lab}]}}, nets: {lab: {}}}"


class Position(NamedTuple):
    """Where something begins; both numbers count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in an init file, or something odd that is only told.

    Attributes:
        message: what is wrong.
        expected: or what should be there; the message says that, and what is there instead.
        of_key: it is the key that is wrong, not its value.
        unless: a place; if something is wrong there already, this may come of that and is not told.
        position: where it begins, if that is not where its place does.
        other: another place whose key it is about as well; the message ends with its line.
        kind: whether it must be corrected; see `Finding`.
        alone: the file is no init file yet, so that nothing else is told of it.
    """

    at: Place
    message: str = ""
    expected: str = field(default="", kw_only=True)
    of_key: bool = field(default=False, kw_only=True)
    unless: Place | None = field(default=None, kw_only=True)
    position: Position | None = field(default=None, kw_only=True)
    other: Place | None = field(default=None, kw_only=True)
    kind: Literal["mistake", "warning", "note"] = field(default="mistake", kw_only=True)
    alone: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Plain data and where its parts stand.

    Attributes:
        name: the file as the user named it.
        data: mappings with text keys, lists, text, numbers, booleans and None.
        values: where each value begins.
        keys: where each key begins.
        sources: how a value that is no text was written, such as `1.10`.
        only_anchors: top-level keys whose content is used again, by anchor, under other keys.
        mistakes: mistakes found while reading.
    """

    name: str
    data: dict[str, Any]
    values: Mapping[KeyPath, Position]
    keys: Mapping[KeyPath, Position]
    sources: Mapping[KeyPath, str] = field(default_factory=dict)
    only_anchors: frozenset[str] = frozenset()
    mistakes: tuple[Mistake, ...] = ()

    def position(self, path: KeyPath, *, of_key: bool = False) -> Position:
        """Where the value (or its key) at `path` begins; the nearest place above if there is nothing at `path`."""
        if of_key and path in self.keys:
            return self.keys[path]
        while path not in self.values:
            path = path[:-1]
        return self.values[path]

    def begin(self, mistake: Mistake) -> Position:
        """Where a mistake is."""
        return mistake.position or self.position(mistake.at.path, of_key=mistake.of_key)

    def message(self, mistake: Mistake) -> str:
        """What a mistake says."""
        if mistake.other is not None:
            line = self.position(mistake.other.path, of_key=True).line
            return f"{mistake.message} ({mistake.other.path[-1]} is on line {line})"
        if mistake.message:
            return mistake.message
        value: Any = self.data
        for step in mistake.at.path:
            value = value[step]
        return f"expected {mistake.expected}, found {self.in_words(mistake.at.path, value)}"

    def finding(self, mistake: Mistake) -> Finding:
        """A mistake with the place where it is in the file."""
        return Finding(self.name, *self.begin(mistake), path_text(mistake.at.path), self.message(mistake), mistake.kind)

    def line(self, mistake: Mistake) -> str:
        """`file:line:column: path: message`."""
        return str(self.finding(mistake))

    def in_words(self, path: KeyPath, value: Any) -> str:
        """The value at `path`, for messages."""
        if value is None:
            return "nothing"
        if isinstance(value, str):
            return f"text {quote(value)}"
        if isinstance(value, list | dict):
            return f"{'a' if value else 'an empty'} {'list' if isinstance(value, list) else 'mapping'}"
        return self.source(path, value) if isinstance(value, bool) else f"the number {self.source(path, value)}"

    def source(self, path: KeyPath, value: Any) -> str:
        """The value at `path`, which is no text, as the file spells it."""
        return self.sources[path] if path in self.sources else json.dumps(value)


def quote(text: str) -> str:
    """Text in double quotes on one line, cut when long."""
    return json.dumps(text if len(text) <= 60 else text[:57] + "...", ensure_ascii=False)


def path_text(path: KeyPath) -> str:
    """A path as people write it: `domains.vm0.nics[1].ip`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if re.fullmatch(r"[\w-]+", part) else json.dumps(part))
    return text


def read(path: str, example: str = _EXAMPLE) -> Document:
    """Read the init file at `path`, or another file in YAML of which `example` tells how one looks.

    Raises:
        InitFileError: there is no such file, or it isn't an init file at all.
    """
    return loads(read_text(path, example), path, example)


def read_text(path: str, example: str = _EXAMPLE) -> str:
    """The text of the init file at `path`, as it is there; `example` as for `read`.

    Raises:
        InitFileError: there is no such file, or it isn't text.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except FileNotFoundError:
        new = ", or let lago new write one to start from" if example == _EXAMPLE else f"; {example}"
        raise _refused(path, "there is no such file", hint=f"name one that is{new}") from None
    except IsADirectoryError:
        message, hint = "this is a directory, not an init file", "name the file inside it, often LagoInitFile"
        raise _refused(path, message, hint=hint) from None
    except OSError as error:
        raise _refused(path, f"it can't be read: {error.strerror}") from None
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode()) + 1
        message = f"the file is not UTF-8 text (byte 0x{raw[error.start]:02x})"
        raise _refused(path, message, line, column, hint="save it as UTF-8") from None


def loads(text: str, name: str, example: str = _EXAMPLE) -> Document:
    """Read an init file with content `text`; `name` is what messages call it.

    Raises:
        InitFileError: the text isn't an init file at all.
    """
    with _of_file(name):
        return _Reader().document(tree(text.removeprefix(BYTE_ORDER_MARK), name, example), name)


def tree(text: str, name: str, example: str = _EXAMPLE) -> Node:
    """The mapping that the text of an init file is, as nodes; parameters as for `loads`.

    Raises:
        InitFileError: the text isn't an init file at all.
    """
    # Imported here: most commands never read an init file, and yaml is slow to import.
    from .nodes import SyntaxMistake, compose

    with _of_file(name):
        root = compose(text, MAX_NODES, MAX_DEPTH)
        if root is None:
            raise SyntaxMistake(1, 1, "the file is empty", example)
        if root.kind is not dict:
            found = "a list" if root.kind is list else f"only {json.dumps(root.text[:40], ensure_ascii=False)}"
            raise SyntaxMistake(root.line, root.column, f"expected a mapping, found {found}", example)
        return root


@contextlib.contextmanager
def _of_file(name: str) -> Iterator[None]:
    """Context manager: what is wrong with the text is told as a mistake of the file `name`."""
    from .nodes import SyntaxMistake

    try:
        yield
    except SyntaxMistake as mistake:
        raise _refused(name, mistake.message, mistake.line, mistake.column, hint=mistake.hint) from None


def _refused(
    name: str, message: str, line: int | None = None, column: int | None = None, *, hint: str = ""
) -> InitFileError:
    """The error of a file that is none at all."""
    return InitFileError([Finding(name, line, column, "", message)], hint=hint)


class _Reader:
    """Expands anchors and merge keys, and notes positions."""

    def __init__(self) -> None:
        self.values: dict[KeyPath, Position] = {}
        self.keys: dict[KeyPath, Position] = {}
        self.sources: dict[KeyPath, str] = {}
        self.mistakes: list[Mistake] = []
        self.only_anchors: set[str] = set()
        self._count = 0
        self._first_use: dict[int, str] = {}
        self._checked: set[int] = set()

    def document(self, root: Node, name: str) -> Document:
        data = self._value(root, (), Position(root.line, root.column))
        return Document(
            name=name,
            data=data,
            values=self.values,
            keys=self.keys,
            sources=self.sources,
            only_anchors=frozenset(self.only_anchors),
            mistakes=tuple(self.mistakes),
        )

    def _value(self, node: Node, path: KeyPath, position: Position) -> Any:
        self._visit(node, path)
        self.values[path] = position
        if node.kind is list:
            return [self._value(n, (*path, i), Position(n.line, n.column)) for i, n in enumerate(node.items)]
        if node.kind is dict:
            return self._mapping(node, path)
        if "\0" in node.text:
            self.mistakes.append(Mistake(Place(path), "a NUL character can't be in an init file", position=position))
        value = node.scalar
        if not isinstance(value, str):
            self.sources[path] = node.text
        return value

    def _visit(self, node: Node, path: KeyPath) -> None:
        self._count += 1
        if self._count > MAX_NODES or len(path) > MAX_DEPTH:
            from .nodes import SyntaxMistake

            size = (
                f"holds more than {MAX_NODES} values" if self._count > MAX_NODES else f"is over {MAX_DEPTH} levels deep"
            )
            raise SyntaxMistake(node.line, node.column, f"the file {size} once its anchors are expanded")
        if node.anchor and path:
            top = str(path[0])
            first = self._first_use.setdefault(id(node), top)
            if first != top:
                self.only_anchors.add(first)

    def _mapping(self, node: Node, path: KeyPath) -> dict[str, Any]:
        data = {}
        for key, value in self._pairs(node, path).values():
            below = (*path, key.text)
            begin = Position(key.line, key.column)
            self.keys[below] = begin
            nothing = value.kind is str and value.plain and not value.text
            data[key.text] = self._value(value, below, begin if nothing else Position(value.line, value.column))
        return data

    def _pairs(self, node: Node, path: KeyPath, depth: int = 0) -> dict[str, tuple[Node, Node]]:
        """The entries of a mapping with those it merges; its own win, then those merged first."""
        merged: dict[str, tuple[Node, Node]] = {}
        own: dict[str, tuple[Node, Node]] = {}
        for key, value in node.pairs:
            if key.kind is not str:
                self._mistake(key, path, f"a key must be text, found a {'list' if key.kind is list else 'mapping'}")
            elif key.plain and key.text == "<<":
                for source in value.items if value.kind is list else [value]:
                    self._visit(source, path or ("<<",))
                    if source.kind is not dict or depth > 20:
                        self._mistake(source, (*path, "<<"), "expected a mapping, or a list of mappings, to merge")
                        continue
                    for name, pair in self._pairs(source, path, depth + 1).items():
                        self._visit(pair[0], path)
                        merged.setdefault(name, pair)
            elif key.text in own:
                line = own[key.text][0].line
                self._mistake(key, (*path, key.text), f"this key is there already, on line {line}; remove one of them")
            else:
                own[key.text] = (key, value)
        return {**merged, **own}

    def _mistake(self, node: Node, path: KeyPath, message: str) -> None:
        # A mapping behind an anchor is seen once per use, and wrong once.
        if id(node) not in self._checked:
            self._checked.add(id(node))
            self.mistakes.append(Mistake(Place(path), message, position=Position(node.line, node.column)))
