"""A report as one HTML file, which needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from .page import script, style
from .pictures import Picture

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>Lago report</title>
<style>{style}</style>
</head>
<body>
<div id="lago"><noscript>This report is drawn by a script of its own: allow JavaScript for this file.</noscript></div>
<script type="application/octet-stream" id="lago-data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def page(entries: Iterable[Mapping[str, Any]], pictures: Mapping[str, Picture]) -> str:
    """Return the page.

    What machines said is packed (deflate in base64), so that no byte of it is read as HTML.

    Args:
        entries: a journal.
        pictures: by names of files.
    """
    data = json.dumps({"entries": list(entries), "pictures": pictures}, separators=(",", ":"))
    packed = base64.b64encode(zlib.compress(data.encode("ascii"), level=6)).decode("ascii")
    return _PAGE.format(policy=_policy(), style=_style(), data=packed, script=_script())


def _script() -> str:
    return "\n" + script("boot.js")


def _style() -> str:
    return "\n" + style() + "body { margin: 0; }\n"


def _policy() -> str:
    """Return a Content Security Policy by which only the script and the style sheet of the page itself count."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(_script())}",
            f"style-src {_hash(_style())}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
