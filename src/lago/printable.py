"""Text that guests, images and servers send, as it may be shown on a terminal."""

from __future__ import annotations

import re
from typing import Final

_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*[mK]")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0 and C1 but for tab and the end of a line, what turns the direction of text, and bytes that are no text."""


def printable(text: str) -> str:
    r"""Return `text` without colours, and with other control characters as one writes them: `\x1b` for ESC.

    A terminal obeys such characters: they move its cursor, set its title, or type on its keyboard.
    """
    if text.isprintable():
        return text
    return _CONTROL.sub(_written, _COLOUR.sub("", text))


def _written(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
