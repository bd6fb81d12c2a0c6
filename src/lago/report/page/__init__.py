"""The viewer: its scripts and style sheets, which the report and the page of a running environment have in common."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

_SCRIPTS: Final = (
    "text.js",
    "times.js",
    "dom.js",
    "kinds.js",
    "model.js",
    "choice.js",
    "colours.js",
    "timeline.js",
    "painter.js",
    "gestures.js",
    "rows.js",
    "events.js",
    "details.js",
    "topology.js",
    "consoles.js",
    "screens.js",
    "bar.js",
    "head.js",
    "viewer.js",
)
_STYLES: Final = ("colours.css", "viewer.css")


def script(*more: str) -> str:
    """Return the viewer as one script that defines `LagoViewer` and no other name.

    Args:
        more: names of files that go behind it, such as `boot.js`.
    """
    return f'(() => {{\n"use strict";\n{_text(*_SCRIPTS, *more)}}})();\n'


def style() -> str:
    """Return the style sheet of the viewer."""
    return _text(*_STYLES)


def _text(*names: str) -> str:
    return "\n".join(files(__package__).joinpath(name).read_text(encoding="utf-8") for name in names)
