"""Scripts of others that the page shows terminals and screens with. `tools/page-parts` puts them here."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

REMEDY: Final = "tools/page-parts in the working copy gets them from their packages; a release has them"
_NEEDED: Final = {"terminals": "xterm/xterm.js", "screens": "novnc/core/rfb.js"}


def missing() -> list[str]:
    """What the page can't show, as the scripts for it are not there."""
    return [what for what, path in _NEEDED.items() if read(path) is None]


def read(path: str) -> bytes | None:
    """Read a file of them; None if there is none."""
    found = files(__package__).joinpath("parts")
    for name in path.split("/"):
        if not name or name.startswith("."):
            return None
        found = found.joinpath(name)
    return found.read_bytes() if found.is_file() else None
