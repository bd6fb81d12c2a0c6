"""The errors that Lago raises on purpose, as `lago.errors` has them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from lago.errors import InternalError, LagoError

from .doctree import definitions


def errors(kind: type[LagoError] = LagoError) -> Iterator[tuple[str, str, list[str]]]:
    """Name, exit status and description of each class, a class before those derived from it."""
    status = "exit status 1" if kind.exit_code == InternalError.exit_code else ""
    about = (inspect.getdoc(kind) or "").partition("\n\n")[0].replace("\n", " ")
    yield kind.__name__, status, [about]
    for below in kind.__subclasses__():
        if below.__module__ == kind.__module__:
            yield from errors(below)


class Errors(SphinxDirective):
    """`lago-errors`: all classes of errors."""

    def run(self) -> list[nodes.Node]:
        return [definitions(errors(), "error")]
