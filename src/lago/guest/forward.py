"""Ports of guests as addresses of this host."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from ..errors import LagoError
from ..host.parallel import Closing
from ..host.pump import pump
from ..log import LOG

LOOPBACK: Final = "127.0.0.1"
_BACKLOG: Final = 64
_PAUSE: Final = 0.1
_IDLE: Final = 15
_PROBES: Final = 3


class Local(NamedTuple):
    """Where to listen: a `port` of the loopback address (0 is any that is free), or a unix socket at `path`."""

    port: int = 0
    path: str = ""


class Forward(Closing):
    """Listens on this host until it is closed, and connects whoever comes with a guest.

    Args:
        connect: makes a connection to the guest. Raises OSError.
        local: where to listen.
        what: the other end, for messages.

    Raises:
        LagoError: somebody else listens there.
    """

    def __init__(self, connect: Callable[[], socket.socket], local: Local, what: str) -> None:
        self._connect = connect
        self._local = local
        self._what = what
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._listener = self._listen()
        self.address: tuple[str, int] = (local.path, 0) if local.path else self._listener.getsockname()
        """Host and port to connect to; of a unix socket its path and 0."""
        threading.Thread(target=self._accept, daemon=True, name=f"forward {what}").start()

    def _listen(self) -> socket.socket:
        try:
            if self._local.path:
                return _unix_server(self._local.path)
            return socket.create_server((LOOPBACK, self._local.port), backlog=_BACKLOG)
        except OSError as error:
            place = self._local.path or f"{LOOPBACK} port {self._local.port}"
            raise LagoError(
                f"{self._what} can't be forwarded from {place}: {error.strerror}",
                hint="choose another one; without one a free port is taken",
            ) from None

    def close(self) -> None:
        """Listen no longer, and end all connections."""
        with self._lock:
            self._closed = True
            # shutdown wakes those who wait for something; close alone does not.
            for one in (self._listener, *self._open):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._local.path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._local.path)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                if self._closed:
                    return
                # There are no more descriptors just now, or the client is gone; others come.
                time.sleep(_PAUSE)
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                guest = self._connect()
            except (OSError, LagoError) as error:
                LOG.warning("%s can't be reached: %s", self._what, error)
                return
            with guest:
                notice_when_gone(guest)
                with self._lock:
                    if self._closed:
                        return
                    self._open |= {client, guest}
                back = threading.Thread(target=_pump, args=(guest, client), daemon=True)
                back.start()
                _pump(client, guest)
                back.join()
                with self._lock:
                    self._open -= {client, guest}


def _unix_server(path: str) -> socket.socket:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen(_BACKLOG)
        stack.pop_all()
        return listener


def notice_when_gone(guest: socket.socket) -> None:
    """Have a connection end within a minute if the guest, or the whole environment, is gone."""
    guest.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, _IDLE),
        (socket.TCP_KEEPINTVL, _IDLE),
        (socket.TCP_KEEPCNT, _PROBES),
    ):
        guest.setsockopt(socket.IPPROTO_TCP, option, value)


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Copy until the source's end, which is passed on; the other direction may last longer."""
    with contextlib.suppress(OSError):
        pump(source.fileno(), target.fileno())
        target.shutdown(socket.SHUT_WR)
        return
    # Nothing more can be had or said: the other direction shall not wait.
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
