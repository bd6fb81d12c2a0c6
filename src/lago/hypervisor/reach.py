"""TCP connections to guests, made in whatever network namespace this runs in."""

from __future__ import annotations

import socket
import time
from typing import Final

_ATTEMPT: Final = 1.0
_PAUSE: Final = 0.05


def reach(address: str, port: int, timeout: float) -> socket.socket:
    """A connected socket; attempts go on until `timeout` seconds have passed.

    A guest that boots first does not answer at all and then refuses; neither has an event to wait for.

    Raises:
        OSError: the last attempt's.
    """
    deadline = time.monotonic() + timeout
    while True:
        left = deadline - time.monotonic()
        try:
            return socket.create_connection((address, port), timeout=max(0.01, min(_ATTEMPT, left)))
        except OSError:
            if time.monotonic() + _PAUSE >= deadline:
                raise
        time.sleep(_PAUSE)
