"""Sphinx extension: pages of the manual that are made of the program."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

from .commands import Commands, Options
from .docstrings import to_rst
from .errors import Errors
from .files import Files
from .journal import Journal
from .keys import Keys
from .links import unlink_sources
from .modules import write
from .settings import Sections, Settings

DIRECTIVES = {
    "lago-errors": Errors,
    "lago-files": Files,
    "lago-journal": Journal,
    "lago-keys": Keys,
    "lago-options": Options,
    "lago-sections": Sections,
    "lago-settings": Settings,
    "lago-commands": Commands,
}


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    for name, directive in DIRECTIVES.items():
        app.add_directive(name, directive)
    app.connect("doctree-read", unlink_sources)
    if "sphinx.ext.autodoc" in app.extensions:
        app.connect("builder-inited", write)
        # Before napoleon.
        app.connect("autodoc-process-docstring", to_rst, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
