"""Forwarded ports, with an echo server as the guest."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago.errors import LagoError
from lago.guest.forward import Forward, Local


@pytest.fixture
def echo() -> Iterator[int]:
    """A port where everything is sent back, after its end."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve(client: socket.socket) -> None:
        with client:
            data = b""
            while part := client.recv(1 << 16):
                data += part
            client.sendall(data)

    def accept() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


def test_a_forward_goes_on_after_there_were_no_descriptors(echo: int, monkeypatch: pytest.MonkeyPatch) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    connect = lambda: socket.create_connection(("127.0.0.1", echo))  # noqa: E731
    with Forward(connect, Local(), "x") as forward, socket.socket() as early, socket.socket() as late:
        # Others may have some that were opened earlier, and are above.
        highest = max(map(int, os.listdir("/proc/self/fd")))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
        taken = []
        try:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.open("/dev/null", os.O_RDONLY))
            # There may be a descriptor for it already, but none for its way to the guest, nor for the next one.
            early.connect(forward.address)
            early.settimeout(2)
            with contextlib.suppress(TimeoutError):
                assert early.recv(1) == b""
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in taken:
                os.close(fd)
        late.connect(forward.address)
        late.sendall(b"hello")
        late.shutdown(socket.SHUT_WR)
        assert _all(late) == b"hello"


def _all(client: socket.socket) -> bytes:
    client.settimeout(10)
    data = b""
    while part := client.recv(1 << 16):
        data += part
    return data


def test_both_directions_end_on_their_own(echo: int) -> None:
    data = os.urandom(3 << 20)
    with Forward(lambda: socket.create_connection(("127.0.0.1", echo)), Local(), "it") as forward:
        assert forward.address[0] == "127.0.0.1"
        with socket.create_connection(forward.address) as one, socket.create_connection(forward.address) as two:
            for client, what in ((one, data), (two, b"two")):
                client.sendall(what)
                client.shutdown(socket.SHUT_WR)
            assert _all(two) == b"two"
            assert _all(one) == data


def test_the_end_of_a_forward_ends_its_connections(echo: int) -> None:
    with Forward(lambda: socket.create_connection(("127.0.0.1", echo)), Local(), "it") as forward:
        client = socket.create_connection(forward.address)
        client.sendall(b"x")
    with client:
        client.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(forward.address)


def test_a_unix_socket_is_listened_at_and_removed(echo: int, tmp_path: Path) -> None:
    path = tmp_path / "it.sock"
    with Forward(lambda: socket.create_connection(("127.0.0.1", echo)), Local(path=str(path)), "it") as forward:
        assert forward.address == (str(path), 0)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"hello")
            client.shutdown(socket.SHUT_WR)
            assert _all(client) == b"hello"
    assert not path.exists()


def test_a_place_that_is_taken_is_refused_and_left_alone(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LagoError, match=f"it can't be forwarded from 127.0.0.1 port {port}: Address"):
            Forward(lambda: socket.socket(), Local(port), "it")
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(LagoError, match="Address already in use"):
        Forward(lambda: socket.socket(), Local(path=str(file)), "it")
    assert file.read_text() == "mine"


def test_a_guest_that_does_not_answer_ends_the_connection_alone(caplog: pytest.LogCaptureFixture) -> None:
    def connect() -> socket.socket:
        raise ConnectionRefusedError(111, "Connection refused")

    with caplog.at_level(logging.WARNING), Forward(connect, Local(), "vm0 port 1") as forward:
        for _ in range(2):
            with socket.create_connection(forward.address) as client:
                client.settimeout(10)
                assert client.recv(1) == b""
    assert "vm0 port 1 can't be reached" in caplog.text
