"""Bytes get from one descriptor to another as they are, however little the other takes at a time."""

from __future__ import annotations

import os
import socket
import threading

from lago.host.pump import pump

DATA = os.urandom(1 << 20)


def test_all_gets_through_from_a_socket_to_a_pipe() -> None:
    ours, theirs = socket.socketpair()
    read, write = os.pipe()

    def send() -> None:
        with theirs:
            theirs.sendall(DATA)

    def move() -> None:
        pump(ours.fileno(), write)
        os.close(write)

    threads = [threading.Thread(target=send), threading.Thread(target=move)]
    with ours, open(read, "rb") as end:
        for thread in threads:
            thread.start()
        assert end.read() == DATA
        for thread in threads:
            thread.join()
