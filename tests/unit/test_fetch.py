"""Files by http from a server of the test's own."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago import disks
from lago.errors import DiskError, LagoError
from lago.fetch import fetch
from lago.topology import Disk

from .conftest import Lago
from .test_topology import resolved

DATA = b"image".ljust(3 << 20, b".")


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/loop":
            self.send_response(302)
            self.send_header("Location", "/loop")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(DATA)))
        self.end_headers()
        self.wfile.write(DATA[: 1 << 20] if self.path == "/cut" else DATA)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()
        thread.join()


def disk(url: str, format_: str = "raw") -> Disk:
    return Disk(name="data", type="file", dev="vda", format=format_, path="images/x", serial="1", source=url)  # type: ignore[arg-type]


def test_a_file_is_fetched_whole(server: str, tmp_path: Path) -> None:
    fetch(f"{server}/data", str(tmp_path / "x"))
    assert (tmp_path / "x").read_bytes() == DATA
    fetch((tmp_path / "x").as_uri(), str(tmp_path / "y"))
    assert (tmp_path / "y").read_bytes() == DATA


@pytest.mark.parametrize(
    ("path", "says", "hint"),
    [
        ("/missing", "the server says 404 Not Found", "correct the address"),
        ("/loop", "the server says 302 ", "look at it with curl -I"),
        ("/cut", f"the connection was lost after {1 << 20} of {len(DATA)} bytes", "try again"),
    ],
)
def test_what_cannot_be_had_whole_is_an_error(server: str, tmp_path: Path, path: str, says: str, hint: str) -> None:
    with pytest.raises(LagoError, match=says) as raised:
        fetch(server + path, str(tmp_path / "x"))
    assert raised.value.what.startswith(f"{server}{path}: ")
    assert raised.value.hint.startswith(hint)


def test_a_server_that_is_not_there_and_a_file_that_is_not_there_are_errors(tmp_path: Path) -> None:
    for url, says in (("http://127.0.0.1:1/x", "Connection refused"), ("file:///no/such", "No such file or directory")):
        with pytest.raises(LagoError, match=says):
            fetch(url, str(tmp_path / "x"))


@pytest.mark.programs
class TestDisks:
    def test_d31b_a_disk_with_a_url_and_no_path_is_fetched_into_the_environment(
        self, server: str, tmp_path: Path, lago: Lago, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SERVER", server)
        tmp_path.joinpath("LagoInitFile").write_text(
            "domains: {vm0: {disks: [{type: file, url: $SERVER/data, format: raw}]}}\nnets: {lab: {}}\n"
        )
        lago("init")
        assert (tmp_path / ".lago" / "default" / "images" / "vm0_root.raw").read_bytes() == DATA

    def test_what_is_no_image_of_that_format_is_refused_and_not_kept(self, server: str, tmp_path: Path) -> None:
        (tmp_path / "images").mkdir()
        for path, says in (("/data", "is raw, not qcow2"), ("/missing", "404"), ("/cut", "was lost")):
            with pytest.raises(LagoError, match=says):
                disks.create(disk(server + path, "qcow2"), str(tmp_path))
            assert list((tmp_path / "images").iterdir()) == []

    def test_the_error_is_one_of_disks(self, server: str, tmp_path: Path) -> None:
        (tmp_path / "images").mkdir()
        with pytest.raises(DiskError):
            disks.create(disk(f"{server}/data", "qcow2"), str(tmp_path))


def test_the_format_is_that_of_the_addresss_ending_and_variables_are_filled_in() -> None:
    text = "domains: {vm0: {disks: [{url: $HERE/a.iso}, {url: 'http://x/b'}]}}"
    found = resolved(text, variables={"HERE": "http://y"}).domains["vm0"].disks
    assert [(one.source, one.format) for one in found] == [("http://y/a.iso", "iso"), ("http://x/b", "qcow2")]
