"""The program that connects guests with what the host reaches, as the supervisor starts it and sees it come up.

It stays in the host's network and makes a device and a default route in the private one. What it says is in a log of
its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import Final, NoReturn

from ..host.waiting import readable, within
from . import confine, namespace, protocol

_RTMGRP_IPV4_ROUTE: Final = 0x40
"""News of IPv4 routes, rtnetlink(7)."""

_MOST_WORDS: Final = 500


class WayOut:
    """A child that sees the host's files as they are now, and becomes `argv` when it may.

    Args:
        log: where its words go.
        view: what it has in view then, if it is confined.

    Raises:
        OSError: the log can't be written.
    """

    def __init__(self, argv: list[str], log: str, view: confine.View | None = None) -> None:
        self._log = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        self._began = os.fstat(self._log).st_size
        self._argv = argv
        self._view = view
        self._ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._ours.close()
                self._wait(theirs)
            except BaseException as error:
                os.write(2, f"{argv[0]} can't be started: {error}\n".encode())
            finally:
                os._exit(1)
        self._ended = os.pidfd_open(self.pid)
        theirs.close()
        # Not before it has its own view may ours change.
        self._ours.recv(5)

    def _wait(self, told: socket.socket) -> NoReturn:
        # It resolves names for the guests as the host does.
        namespace.own_mounts()
        told.sendall(b"ready")
        if told.recv(2) != b"go":
            os._exit(1)
        for fd in (1, 2):
            os.dup2(self._log, fd)
        if self._view is not None:
            self._view.enter(confine.for_way_out)
            become(self._argv, confine.environment())
        # A file in mounts of its own: pasta gives up the right to look into /proc/1 and closes what it inherits.
        directory, name = os.path.split(protocol.NETNS_FILE)
        namespace.shadow(directory, without=[name])
        os.close(os.open(protocol.NETNS_FILE, os.O_WRONLY | os.O_CREAT))
        namespace.bind("/proc/1/ns/net", protocol.NETNS_FILE)
        become(self._argv, os.environ)

    def go(self) -> None:
        """Start the program: the private network is there."""
        with contextlib.suppress(BrokenPipeError):
            self._ours.sendall(b"go")
        self._ours.close()

    def failure(self, patience: float = 20) -> str:
        """Wait until guests have a way out; why they have none, if it ended or took longer than `patience` seconds.

        To be called in the private network, once.
        """
        try:
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as news:
                news.bind((0, _RTMGRP_IPV4_ROUTE))
                for left in within(patience):
                    if _has_default_route():
                        return ""
                    found = readable([self._ended, news.fileno()], left)
                    if self._ended in found:
                        return f"{self._argv[0]} ended: {self._words()}"
                    if news.fileno() in found:
                        with contextlib.suppress(OSError):
                            news.recv(1 << 16)
            return f"{self._argv[0]} is not ready after {patience:g} s: {self._words()}"
        finally:
            os.close(self._ended)
            os.close(self._log)

    def _words(self) -> str:
        said = os.pread(self._log, 1 << 20, self._began).decode(errors="replace").split("\n")
        return "; ".join(line.strip() for line in said if line.strip())[-_MOST_WORDS:] or "it says nothing"


def _has_default_route() -> bool:
    with open("/proc/self/net/route", encoding="ascii") as file:
        return any(line.split()[1] == "00000000" for line in file)


def become(argv: list[str], environment: os._Environ[str] | dict[str, str]) -> NoReturn:
    """Replace this process by a program that finds signals as a program expects them."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    # Python ignores these two, and programs inherit what is ignored; pasta refuses to start then.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(argv[0], argv, environment)  # noqa: S606 - an argument list
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
    os._exit(127)
