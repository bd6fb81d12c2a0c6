"""Links of pages that lead out of the manual."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx


def unlink_sources(app: Sphinx, doctree: nodes.document) -> None:
    """Leave the text of links to what is in the sources only, from a page or from a file above that it includes."""
    here = Path(app.env.doc2path(app.env.docname)).parent
    places = (here, here.parent)
    for node in list(doctree.findall(addnodes.pending_xref)):
        target = node["reftarget"]
        if node["reftype"] == "myst" and "/" in target and any((place / target).exists() for place in places):
            node.replace_self(node.children)
