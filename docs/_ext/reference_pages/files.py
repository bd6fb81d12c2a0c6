"""The files of a prefix, as `lago.paths` has them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from lago.paths import Paths

from .doctree import definitions


def files() -> Iterator[tuple[str, str, list[str]]]:
    """Path, from the prefix on, and description of each file; a capital word stands for a name."""
    paths = Paths("")
    for name, method in inspect.getmembers_static(Paths, inspect.isfunction):
        if name.startswith("_") or name == "prefix":
            continue
        needed = [one.name.upper() for one in inspect.signature(method).parameters.values() if _is_needed(one)]
        yield getattr(paths, name)(*needed), "", [inspect.getdoc(method) or ""]


def _is_needed(parameter: inspect.Parameter) -> bool:
    optional = parameter.kind is inspect.Parameter.VAR_POSITIONAL or parameter.default is not inspect.Parameter.empty
    return parameter.name != "self" and not optional


class Files(SphinxDirective):
    """`lago-files`: what is in a prefix."""

    def run(self) -> list[nodes.Node]:
        return [definitions(sorted(files()), "file")]
