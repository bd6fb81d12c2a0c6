"""What a command hands to the core, which prints it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TextIO


class Outcome(NamedTuple):
    """A command's data together with more than data.

    Attributes:
        data: what is printed in the chosen output format, plain values and containers.
        exit_code: how the program ends after printing.
        show: writes the same for a person; used in place of the default format on a terminal.
    """

    data: Any
    exit_code: int = 0
    show: Callable[[TextIO], None] | None = None
