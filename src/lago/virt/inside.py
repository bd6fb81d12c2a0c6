"""Scripts that a guest's root runs, by its connection and with nothing but what is in any guest."""

from __future__ import annotations

import shlex
from typing import Final

from ..errors import VMError
from ..host.programs import tail
from .machine import Machine

_AS_ROOT: Final = 'if [ "$(id -u)" = 0 ]; then exec sh -s "$@"; else exec sudo -n sh -s "$@"; fi'
_PATIENCE: Final = 60.0
_SHOWN: Final = 5


def as_root(machine: Machine, script: str, *words: str, what: str, patience: float = _PATIENCE) -> str:
    """Run a script on a machine that is logged in to, and return its output.

    Args:
        script: for a plain shell.
        words: its arguments.
        what: what failed if it fails, for the message.
        patience: seconds that it may take, times 5 when emulated.

    Raises:
        VMError: it fails, or the user there can't become root.
        SSHError: the connection is not there, or was lost.
    """
    line = shlex.join(["sh", "-c", _AS_ROOT, "sh", *words])
    status = machine.guest.run(line, data=script.encode(), timeout=patience * machine.time_factor)
    if status:
        raise VMError(
            f"{machine.name()}: {what}",
            details=tail(status.error_text or status.text, _SHOWN),
            hint=f"its user {machine.guest.user} must be root, or be allowed all by sudo",
        )
    return status.text
