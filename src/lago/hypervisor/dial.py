"""TCP connections to guests, made in whatever network namespace this runs in."""

from __future__ import annotations

import errno
import os
import socket
import time
from typing import Final

from ..host.waiting import within, writable

_PACE: Final = 0.15
_PATIENCE: Final = 1.5


def reach(address: str, port: int, timeout: float) -> socket.socket:
    """Connect to a guest as soon as it accepts a connection; tried for `timeout` seconds.

    A guest that boots first loses what is sent to it, then refuses, then accepts. TCP would send again after 1, 3 and
    7 s only, so a new attempt joins every 0.15 s, while older ones keep their chance: a busy guest answers late.

    Raises:
        OSError: the last answer, or that there was none.
    """
    family, kind, protocol, _, target = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    pending: dict[int, tuple[socket.socket, float]] = {}
    last: OSError = TimeoutError(errno.ETIMEDOUT, f"no answer from {address} port {port} within {timeout:g} s")
    try:
        for left in within(timeout):
            attempt = socket.socket(family, kind, protocol)
            attempt.setblocking(False)
            pending[attempt.fileno()] = (attempt, time.monotonic() + _PATIENCE)
            attempt.connect_ex(target)
            # Nothing pending means a refusal, which comes at once and has no event for its end.
            for rest in within(min(left, _PACE)):
                for fd in writable(pending, rest):
                    settled, _ = pending.pop(fd)
                    error = settled.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if not error:
                        settled.setblocking(True)
                        return settled
                    settled.close()
                    last = OSError(error, os.strerror(error))
            now = time.monotonic()
            for fd in [fd for fd, (_, end) in pending.items() if end < now]:
                pending.pop(fd)[0].close()
        raise last
    finally:
        for one, _ in pending.values():
            one.close()
