"""Pieces of pages. They are made as nodes, not as markup, so that no text needs quoting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from docutils import nodes


def prose(text: str) -> list[nodes.Node]:
    """A sentence as the program has it, where backquotes enclose code."""
    parts = text.split("`")
    made = [nodes.literal(text=part) if number % 2 else nodes.Text(part) for number, part in enumerate(parts)]
    return [node for node in made if node.astext()]


def paragraph(text: str) -> nodes.paragraph:
    """A paragraph of `prose`."""
    return nodes.paragraph("", "", *prose(text))


def section(document: nodes.document, label: str, title: str, *content: nodes.Node) -> nodes.section:
    """A section about something of the program, which pages may refer to by a label."""
    made = nodes.section("", nodes.title("", "", nodes.literal(text=title)), *content, names=[label])
    document.note_explicit_target(made, made)
    return made


def definitions(entries: Iterable[tuple[str, str, Sequence[str]]], prefix: str) -> nodes.definition_list:
    """Terms, each with a word on its kind, maybe, and paragraphs; anchors are `prefix` and the term."""
    made = nodes.definition_list()
    for name, kind, paragraphs in entries:
        term = nodes.term("", "", nodes.literal(text=name), ids=[nodes.make_id(f"{prefix} {name}")])
        about = nodes.definition("", *map(paragraph, paragraphs))
        item = nodes.definition_list_item("", term, *([nodes.classifier("", "", *prose(kind))] if kind else []), about)
        # Sphinx counts from it.
        item.line = 1
        made += item
    return made


def options(entries: Iterable[tuple[Sequence[str], str, str]]) -> nodes.option_list:
    """Options: their spellings, their arguments, and a sentence."""
    made = nodes.option_list()
    for spellings, arguments, text in entries:
        group = nodes.option_group()
        for spelling in spellings:
            argument = [nodes.option_argument("", arguments, delimiter=" ")] if arguments else []
            group += nodes.option("", nodes.option_string("", spelling), *argument)
        made += nodes.option_list_item("", group, nodes.description("", paragraph(text)))
    return made
