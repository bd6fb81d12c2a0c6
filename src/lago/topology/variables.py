"""Variables in paths and addresses of init files."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from ..constants import INITFILE_PATH_VARIABLE
from ..errors import LagoError


def expand(path: str, variables: Mapping[str, str]) -> str:
    """Fill in the variables of a path of an init file; what is relative begins at `LAGO_INITFILE_PATH`.

    Raises:
        LagoError: a variable is not there.
    """
    if path == "~" or path.startswith("~/"):
        path = f"$HOME{path[1:]}"
    return posixpath.normpath(posixpath.join(variables.get(INITFILE_PATH_VARIABLE, "/"), fill_in(path, variables)))


def fill_in(text: str, variables: Mapping[str, str]) -> str:
    """A path or address of an init file with its variables filled in. Raises LagoError if one is not there."""

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in variables:
            raise LagoError(f"the variable {name} in {text} is not set", hint=f"export {name}=...")
        return variables[name]

    return re.sub(r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))", value, text)
