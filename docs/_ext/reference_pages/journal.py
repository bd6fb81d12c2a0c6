"""Kinds of lines of a journal, and their keys, as `lago.journal.kinds` has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from lago.journal.kinds import ALWAYS, KINDS, Key, Kind

from .doctree import definitions, paragraph, section

_Entries = Iterable[tuple[str, str, list[str]]]


def keys(found: Mapping[str, Key], *, end: bool = False) -> Iterator[tuple[str, str, list[str]]]:
    """Name, type and meaning of keys; `end` says that the last line has them."""
    for name, key in found.items():
        words = [key.type, *(["always there"] if key.needed else []), *(["at the end"] if end else [])]
        yield name, ", ".join(words), [f"{key.help[0].upper()}{key.help[1:]}."]


def _kind(document: nodes.document, name: str, kind: Kind) -> nodes.section:
    lasts = "It lasts." if kind.span else ""
    parts: list[nodes.Node] = [paragraph(f"{kind.help[0].upper()}{kind.help[1:]}. {lasts}".strip())]
    entries: _Entries = [*keys(kind.keys), *keys(kind.end, end=True)]
    parts.append(definitions(entries, f"journal-{name}"))
    return section(document, f"journal-{name}", name, *parts)


class Journal(SphinxDirective):
    """`lago-journal`: what all lines have, and a section for each kind."""

    def run(self) -> list[nodes.Node]:
        document = self.state.document
        return [
            definitions(keys(ALWAYS), "journal"),
            *(_kind(document, name, kind) for name, kind in KINDS.items()),
        ]
