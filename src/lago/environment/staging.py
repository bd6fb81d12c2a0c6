"""Directories that become a prefix by a rename, or are swept."""

from __future__ import annotations

import os
from typing import Final

from ..errors import PrefixError

UNFINISHED: Final = ".lago-unfinished-"
"""Directories with this prefix beside a prefix are what an interrupted `create` or `destroy` left."""


def unfinished_beside(path: str) -> str:
    """A new empty directory that is swept if we are interrupted."""
    made = os.path.join(os.path.dirname(path), UNFINISHED + os.urandom(4).hex())
    os.mkdir(made, 0o755)
    return made


def already_there(path: str) -> PrefixError:
    """Return the error that something is at the place of a new prefix."""
    return PrefixError(f"{path} exists already", hint=f"choose another name, or lago -p {path} destroy")
