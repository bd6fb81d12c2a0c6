"""Those who ask what happens and then do not listen."""

from __future__ import annotations

import json
import socket

from lago.journal.writing import Journal

from .conftest import UUID, Served

LINES = 800
TEXT = "x" * 10_000


def asked(page: Served) -> socket.socket:
    """Ask for the stream of events."""
    made = socket.socket()
    made.settimeout(60)
    made.connect(("127.0.0.1", page.port))
    head = f"GET /api/{UUID}/events HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nCookie: {page.cookie}\r\n\r\n"
    made.sendall(head.encode())
    return made


def test_who_does_not_read_what_happens_is_waited_for_and_keeps_nobody_waiting(page: Served) -> None:
    journal = Journal(str(page.prefix), lambda: ())
    for number in range(LINES):
        journal.event("note", text=f"{number} {TEXT}")
    silent = [asked(page) for _ in range(8)]
    try:
        for one in silent:
            assert one.recv(12) == b"HTTP/1.1 200"
        # Others are answered, and what was not read is still to come.
        assert page.ask("/api/environments").status == 200
        last = silent.pop()
        with last:
            received = bytearray()
            while b": up to now" not in received[-64:]:
                data = last.recv(1 << 20)
                assert data, "the stream ended"
                received += data
        found = [json.loads(line[6:]) for line in received.split(b"\n") if line.startswith(b"data: ")]
        numbers = [int(one["text"].split()[0]) for some in found for one in some if one["kind"] == "note"]
        assert numbers == list(range(LINES))
    finally:
        for one in silent:
            one.close()
    assert page.ask("/api/environments").status == 200
