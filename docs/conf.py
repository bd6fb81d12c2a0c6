"""The manual: what `make docs` builds."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "docs" / "_ext"), str(ROOT / "tools"), str(ROOT / "src")]

from releases.version import of_source  # noqa: E402

# A glob of the contents may find nothing; what no glob finds is warned of all the same. The warning has no type by
# which it could be suppressed.
logging.getLogger("sphinx.sphinx.directives.other").addFilter(lambda record: "toctree glob" not in str(record.msg))

project = "Lago"
release = version = of_source(ROOT)
root_doc = "index"
exclude_patterns = ["_ext", "man"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.graphviz", "sphinx.ext.napoleon", "reference_pages"]
graphviz_output_format = "svg"
myst_enable_extensions = ["attrs_block", "colon_fence", "deflist"]
myst_heading_anchors = 3
# It would make one dash of the two of an option.
smartquotes = False
# A type in a signature that is in two modules leads to neither.
suppress_warnings = ["ref.python"]
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
# What stands in single backquotes in docstrings is code.
default_role = "code"
# Blocks without a language are mostly what a terminal shows.
highlight_language = "none"

html_theme = "furo"
html_title = f"Lago {release}"
html_copy_source = False
html_show_copyright = False
