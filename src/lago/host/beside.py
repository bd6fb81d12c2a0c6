"""Programs of ours that go on when this one ends: a function of Lago's, run by a Python of its own.

They see neither packages of the site nor a terminal, and import next to nothing.
"""

from __future__ import annotations

import os
import sys
from typing import Final

_CODE: Final = (
    "import sys, importlib; sys.path.insert(0, sys.argv[1]); importlib.import_module(sys.argv[2]).main(*sys.argv[3:])"
)


def argv(module: str, *words: str) -> list[str]:
    """Command line that has `main` of a module run, on its own; it returns at once.

    Args:
        module: its name, such as `lago.host.pace`.
        words: the arguments of `main`, as texts.
    """
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return ["setsid", "--fork", sys.executable, "-I", "-S", "-c", _CODE, source, module, *words]
