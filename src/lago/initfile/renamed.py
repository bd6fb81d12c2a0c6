"""Keys of machines that had other names in earlier releases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..topology.place import Place
from .document import Document, Mistake


def renamed(document: Document, names: Mapping[str, str]) -> Document:
    """Return the document with the keys of today in machines and prototypes, before these are merged.

    Old names are among its mistakes, as warnings.

    Args:
        names: those of today by old ones.
    """
    found = [(top, name, old) for top, name, body in _bodies(document) for old in names if old in body]
    if not found:
        return document
    data = dict(document.data)
    values, keys, sources = dict(document.values), dict(document.keys), dict(document.sources)
    mistakes = []
    for top, name, old in found:
        path, new = (top, name), names[old]
        now = dict(data[top][name])
        there = new in now
        message = f"{new} holds, remove this old name of it" if there else f"this is the old name of {new}, write that"
        mistakes.append(Mistake(Place((*path, old)), message, of_key=True, kind="warning"))
        value = now.pop(old)
        if not there:
            now[new] = value
            values[*path, new], keys[*path, new] = values[*path, old], keys[*path, old]
            if (*path, old) in sources:
                sources[*path, new] = sources[*path, old]
        data[top] = {**data[top], name: now}
    return replace(
        document, data=data, values=values, keys=keys, sources=sources, mistakes=(*document.mistakes, *mistakes)
    )


def _bodies(document: Document) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for top in ("prototypes", "domains"):
        machines = document.data.get(top)
        for name, body in machines.items() if isinstance(machines, dict) else ():
            if isinstance(body, dict):
                yield top, name, body
