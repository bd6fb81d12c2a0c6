"""The server of packages, on the loopback address."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovirtlago.packages.server import Server

from ..vm.box import wait_for

DATA = bytes(range(256)) * 4096


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory to serve, with a secret beside it."""
    made = tmp_path / "internal_repo"
    made.mkdir()
    made.joinpath("a.rpm").write_bytes(DATA)
    made.joinpath("empty").touch()
    tmp_path.joinpath("id_rsa").write_text("secret")
    return made


@pytest.fixture
def client(root: Path) -> Iterator[http.client.HTTPConnection]:
    """A connection to a server of it."""
    with Server("127.0.0.1", 0, str(root)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            made = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=30)
            with contextlib.closing(made):
                yield made
        finally:
            server.shutdown()
            thread.join()


def get(
    client: http.client.HTTPConnection, path: str, method: str = "GET", **headers: str
) -> tuple[int, bytes, http.client.HTTPMessage]:
    client.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = client.getresponse()
    return answer.status, answer.read(), answer.headers


def test_files_are_served_one_after_another(
    client: http.client.HTTPConnection, capfd: pytest.CaptureFixture[str]
) -> None:
    status, data, headers = get(client, "/a.rpm")
    connection = client.sock
    assert (status, data, headers["Accept-Ranges"]) == (200, DATA, "bytes")
    assert get(client, "/empty")[:2] == (200, b"")
    assert get(client, "/a.rpm", "HEAD")[:2] == (200, b"")
    assert b"a.rpm" in get(client, "/")[1]
    assert client.sock is connection
    assert get(client, "/nothing.rpm")[0] == 404
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=10-19", slice(10, 20)),
        ("bytes=1000000-", slice(1_000_000, None)),
        ("bytes=-100", slice(-100, None)),
        ("bytes=1048575-9999999", slice(-1, None)),
        ("bytes=-9999999", slice(None)),
    ],
)
def test_parts_can_be_had(client: http.client.HTTPConnection, wanted: str, part: slice) -> None:
    status, data, headers = get(client, "/a.rpm", Range=wanted)
    assert (status, data) == (206, DATA[part])
    first = len(DATA) - len(DATA[part.start :]) if part.start else 0
    assert headers["Content-Range"] == f"bytes {first}-{first + len(data) - 1}/{len(DATA)}"
    assert get(client, "/a.rpm")[1] == DATA


@pytest.mark.parametrize("wanted", ["bytes=", "bytes=-", "bytes=1-2,4-5", "lines=1-2", "bytes=a-b"])
def test_what_is_no_part_gets_all(client: http.client.HTTPConnection, wanted: str) -> None:
    assert get(client, "/a.rpm", Range=wanted)[:2] == (200, DATA)


def test_parts_that_are_not_there_are_refused(client: http.client.HTTPConnection) -> None:
    for path, wanted in (("/a.rpm", f"bytes={len(DATA)}-"), ("/a.rpm", "bytes=9-8"), ("/empty", "bytes=0-")):
        status, _, headers = get(client, path, Range=wanted)
        assert (status, headers["Content-Range"].split("/")[0]) == (416, "bytes *")
    assert get(client, "/a.rpm")[1] == DATA


def test_a_part_of_a_file_that_was_changed_meanwhile_is_not_sent(
    client: http.client.HTTPConnection, root: Path
) -> None:
    date = get(client, "/a.rpm")[2]["Last-Modified"]
    assert get(client, "/a.rpm", Range="bytes=5-", If_Range=date)[0] == 206
    os.utime(root / "a.rpm", (1, 1))
    assert get(client, "/a.rpm", Range="bytes=5-", If_Range=date)[:2] == (200, DATA)


@pytest.mark.parametrize("path", ["/../id_rsa", "/%2e%2e/id_rsa", "//../id_rsa", "/link", "/up/id_rsa", "/..%2fid_rsa"])
def test_nothing_outside_is_served(client: http.client.HTTPConnection, root: Path, path: str) -> None:
    root.joinpath("link").symlink_to("../id_rsa")
    root.joinpath("up").symlink_to("..")
    for headers in ({}, {"Range": "bytes=0-"}):
        status, data, _ = get(client, path, **headers)
        assert status == 404
        assert b"secret" not in data


def test_a_directory_is_a_list_whatever_is_in_it(client: http.client.HTTPConnection, root: Path) -> None:
    root.joinpath("el9").mkdir()
    root.joinpath("el9", "index.html").symlink_to("../../id_rsa")
    status, data, _ = get(client, "/el9/")
    assert (status, b"index.html" in data, b"secret" in data) == (200, True, False)
    assert get(client, "/el9")[0] == 301


def test_several_are_served_at_once(client: http.client.HTTPConnection) -> None:
    get(client, "/empty")
    # The connection above is still there, and another one is served nevertheless.
    with urllib.request.urlopen(f"http://127.0.0.1:{client.port}/a.rpm", timeout=30) as answer:
        assert answer.read() == DATA


@contextlib.contextmanager
def program(root: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-I", "-m", "ovirtlago.packages.server", "127.0.0.1", str(port), str(root)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_program_idles_and_ends_with_its_input_d19(root: Path) -> None:
    with program(root, 0) as process:
        assert process.stdin
        assert process.stdout
        assert json.loads(process.stdout.readline()) == {"ok": True}
        pid = process.pid

        def sleeps() -> bool:
            before = switches(pid)
            # As long as a look: whoever wakes twice a second would be caught now and then, who spins always.
            threading.Event().wait(0.6)
            return switches(pid) == before

        assert wait_for(sleeps)
        process.stdin.close()
        assert process.wait(60) == 0


def switches(pid: int) -> list[str]:
    """How often the threads of a process were put to sleep or interrupted."""
    return sorted(
        line
        for status in Path(f"/proc/{pid}/task").glob("*/status")
        for line in status.read_text().splitlines()
        if "ctxt_switches" in line
    )


def test_the_program_says_why_it_can_not_listen(client: http.client.HTTPConnection, root: Path) -> None:
    with program(root, client.port) as process:
        assert process.stdout
        assert json.loads(process.stdout.readline())["error"] == "Address already in use"
        assert process.wait(60) == 0
