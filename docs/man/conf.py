"""The man pages: what `make man` builds, of the same parts as the manual."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "docs" / "_ext"), str(ROOT / "tools"), str(ROOT / "src")]

from releases.version import of_source  # noqa: E402

project = "Lago"
release = version = of_source(ROOT)
root_doc = "lago"
source_suffix = {".md": "markdown"}
extensions = ["myst_parser", "reference_pages"]
myst_enable_extensions = ["deflist"]
smartquotes = False
man_pages = [
    ("lago", "lago", "virtual machines and networks from one file: up, reachable and disposable", "", 1),
    ("lago-initfile", "lago-initfile", "what an environment of Lago is made of", "", 5),
]
# Man pages have no contents.
suppress_warnings = ["toc.not_included"]
