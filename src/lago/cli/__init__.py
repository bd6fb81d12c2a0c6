"""The command line. The only package that prints or exits.

`main` reads the arguments, calls the command's function, prints what it returns in the wanted format, and turns errors
into text and an exit status: 0; 2 for what the user can mend; 1 for what we must mend; 128 + n for signals; the status
of a guest's command as it is.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from .main import main


def run() -> NoReturn:
    """Run the command line of this process, or answer the shell that wants a word completed, and exit."""
    if "_ARGCOMPLETE" in os.environ:
        from . import completion

        completion.complete()
    sys.exit(main())
