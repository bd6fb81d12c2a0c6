"""Machines based on prototypes: `based-on` in an init file, before anything is read."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from ..topology.place import KeyPath, Place
from .document import Document, Mistake, quote
from .mistakes import expected

KEY: Final = "based-on"

_LONGEST: Final = 100
"""Prototypes that are based on each other, one after the other."""


def expand(document: Document) -> Document:
    """Return the document with every machine as if it had been written out.

    Where both have a mapping the two are merged, else what the machine says holds. Values keep their places in the
    file, so that what is wrong in a prototype is told there. Unknown prototypes and circles are among its mistakes.
    """
    domains, prototypes = document.data.get("domains"), document.data.get("prototypes", {})
    if not isinstance(domains, dict) or not isinstance(prototypes, dict):
        return document
    work = _Expansion(document, prototypes)
    expanded = {name: work.expand(("domains", name), body) for name, body in domains.items()}
    for name in prototypes:
        work.prototype(name)
    return replace(
        document,
        data={**document.data, "domains": expanded},
        values=work.values,
        keys=work.keys,
        sources=work.sources,
        mistakes=(*document.mistakes, *work.mistakes),
    )


class _Expansion:
    def __init__(self, document: Document, prototypes: Mapping[str, Any]) -> None:
        self._document = document
        self._prototypes = prototypes
        self._ready: dict[str, dict[str, Any]] = {}
        self._chain: list[str] = []
        self.values = dict(document.values)
        self.keys = dict(document.keys)
        self.sources = dict(document.sources)
        self.mistakes: list[Mistake] = []

    def prototype(self, name: str) -> Any:
        """A prototype with what it is based on itself; its path stays `prototypes.<name>`."""
        if name not in self._ready:
            self._chain.append(name)
            self._ready[name] = self.expand(("prototypes", name), self._prototypes[name])
            self._chain.pop()
        return self._ready[name]

    def expand(self, path: KeyPath, body: Any) -> Any:
        base = self._base(path, body)
        if base is None:
            return body
        if message := self._refusal(base):
            self.mistakes.append(Mistake(Place((*path, KEY)), message))
            return body
        below = self.prototype(base)
        return self._merge(path, body, ("prototypes", base), below) if isinstance(below, dict) else body

    def _base(self, path: KeyPath, body: Any) -> str | None:
        """The prototype that a machine names, which may look like a number."""
        base = body.get(KEY) if isinstance(body, dict) else None
        if isinstance(base, int | float):
            return self._document.source((*path, KEY), base)
        return base if isinstance(base, str) else None

    def _refusal(self, base: str) -> str:
        """Why nothing can be based on a prototype; empty if it can."""
        if base in self._chain:
            circle = [*self._chain[self._chain.index(base) :], base]
            return f"prototypes can't be based on each other in a circle: {' -> '.join(circle)}"
        if len(self._chain) >= _LONGEST:
            return f"more than {_LONGEST} prototypes are based on each other"
        if base in self._prototypes:
            return ""
        if self._prototypes:
            return f"unknown prototype {quote(base)}{expected(base, self._prototypes)}"
        return f"unknown prototype {quote(base)}, the file has none: add prototypes: {{{base}: {{}}}}"

    def _merge(self, path: KeyPath, own: dict[str, Any], base_path: KeyPath, base: dict[str, Any]) -> dict[str, Any]:
        merged = dict(own)
        for key, value in base.items():
            here, there = (*path, key), (*base_path, key)
            if key not in own:
                if key != KEY:
                    self.keys[here] = self.keys.get(there, self.values[there])
                    for below in _paths(value):
                        self._copy((*here, *below), (*there, *below))
                    # Machines share no values, or a change to one would be a change to all.
                    merged[key] = copy.deepcopy(value)
            elif isinstance(value, dict) and isinstance(own[key], dict):
                merged[key] = self._merge(here, own[key], there, value)
        return merged

    def _copy(self, here: KeyPath, there: KeyPath) -> None:
        self.values[here] = self.values[there]
        if there in self.keys:
            self.keys[here] = self.keys[there]
        if there in self.sources:
            self.sources[here] = self.sources[there]


def _paths(value: Any) -> Iterator[KeyPath]:
    """The paths of a value and of all that is in it."""
    yield ()
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in entries:
        for path in _paths(below):
            yield (key, *path)
