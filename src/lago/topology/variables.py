"""Variables in paths and addresses of init files."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Final

from ..constants import INITFILE_PATH_VARIABLE
from ..errors import LagoError

_VARIABLE: Final = r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))"


def expand(path: str, variables: Mapping[str, str]) -> str:
    """Fill in the variables of a path of an init file; what is relative begins at `LAGO_INITFILE_PATH`.

    Raises:
        LagoError: a variable is not there.
    """
    if path == "~" or path.startswith("~/"):
        path = f"$HOME{path[1:]}"
    return posixpath.normpath(posixpath.join(variables.get(INITFILE_PATH_VARIABLE, "/"), fill_in(path, variables)))


def fill_in_address(text: str, variables: Mapping[str, str]) -> str:
    """An address of an init file with its variables filled in.

    A server is told of variables that are meant for Lago, and of no others: whoever writes an init file could have
    credentials sent to him. The address as a whole, or all of its beginning, may be in any variable, and so may files.

    Raises:
        LagoError: a variable is not there, or may not be filled in.
    """
    begin = re.match(_VARIABLE, text)
    rest = text[begin.end() :] if begin else text
    if not text.lower().startswith("file:"):
        for found in re.finditer(_VARIABLE, rest):
            name = found[1] or found[2]
            if not name.startswith("LAGO_"):
                raise LagoError(
                    f"the variable {name} in {text} would be told to a server",
                    hint=f"if that is right, export LAGO_{name}=... and write ${{LAGO_{name}}}",
                )
    return fill_in(text, variables)


def fill_in(text: str, variables: Mapping[str, str]) -> str:
    """A path or address of an init file with its variables filled in. Raises LagoError if one is not there."""

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in variables:
            raise LagoError(f"the variable {name} in {text} is not set", hint=f"export {name}=...")
        return variables[name]

    return re.sub(_VARIABLE, value, text)
