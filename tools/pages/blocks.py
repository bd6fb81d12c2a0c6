"""The code blocks of a Markdown page, and what the page says about running them.

A comment before a block is about that block, and several may be there:

    <!-- not run: WHY -->       nobody runs it, for this reason
    <!-- file: NAME -->         it is what a file of this name has, and is written there
    <!-- exit status: 2 -->     that of its last command, where it is not 0
    <!-- until Ctrl-C -->       its command goes on while the rest of the page is run

The comment `<!-- run in: PLACE -->` anywhere says where the blocks of a page are run: `nothing`, an empty directory,
or `three`, the directory of the example `three-vms` while its machines run.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

_MARK = re.compile(r"<!--\s*(?P<name>[\w -]+?)\s*(?::\s*(?P<value>.*?))?\s*-->", re.DOTALL)
_PROMPT = "$ "
_ANYTHING = ("...", "/home/you")


@dataclass(frozen=True)
class Block:
    """One block: its line on the page, its language ("" if it names none), its text and its marks."""

    page: Path
    line: int
    language: str
    text: str
    marks: dict[str, str]

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command of a block, and the lines that the page shows as its output."""

    line: str
    output: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """A page with its blocks, from top to bottom, and the code within its text; `place` is where blocks are run."""

    path: Path
    place: str | None
    blocks: tuple[Block, ...]
    inline: tuple[str, ...]


def read(path: Path) -> Page:
    """Read a page."""
    blocks: list[Block] = []
    marks: dict[str, str] = {}
    place = None
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))
    for token in tokens:
        if token.type == "html_block":
            found = {mark["name"]: " ".join((mark["value"] or "").split()) for mark in _MARK.finditer(token.content)}
            place = found.pop("run in", place)
            marks |= found
        elif token.type in ("fence", "code_block"):
            assert token.map is not None
            language = (token.info.split() or [""])[0]
            blocks.append(Block(path, token.map[0] + 1, language, token.content, marks))
            marks = {}
        elif token.type.endswith("_open"):
            continue
        else:
            marks = {}
    inline = (child.content for token in tokens for child in token.children or () if child.type == "code_inline")
    return Page(path, place, tuple(blocks), tuple(inline))


def commands(block: Block) -> list[Command]:
    """The commands of a block: the whole of a `sh`, and those behind a `$ ` of a `console`.

    Raises:
        ValueError: a console begins with something else.
    """
    if block.language == "sh":
        return [Command(block.text.rstrip("\n"), ())]
    found: list[Command] = []
    for line in textwrap.dedent(block.text).replace("\\\n", " ").splitlines():
        if line.startswith(_PROMPT):
            found.append(Command(line.removeprefix(_PROMPT), ()))
        elif not found:
            raise ValueError(f"{block}: a console begins with a command behind {_PROMPT!r}")
        elif line.strip():
            found[-1] = Command(found[-1].line, (*found[-1].output, line.strip()))
    return found


def shows(output: str, line: str) -> bool:
    """Whether a line of a page occurs in what a program said.

    Numbers, also those of hexadecimal digits, may be others, so may the space between words. `...` stands for anything,
    and `/home/you` for where the reader is.
    """
    parts = re.split(r"(\.\.\.|/home/you|[0-9][0-9a-f]*(?:[.:-][0-9a-f]+)*|\s+)", line.strip())
    pattern = "".join(_as_pattern(part) for part in parts)
    return any(re.fullmatch(pattern, said.strip()) for said in output.splitlines())


def _as_pattern(part: str) -> str:
    if part in _ANYTHING:
        return ".*"
    if part.isspace():
        return r"\s+"
    return r"[0-9a-f.:-]+" if part[:1].isdigit() else re.escape(part)
