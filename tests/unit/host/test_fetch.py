"""Files by http from a server of the test's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago.disks import qemu_img
from lago.errors import DiskError, FetchError, LagoError
from lago.host import fetch as fetching
from lago.host.fetch import SparseFile, Stream, fetch, read_text
from lago.topology.model import Disk

from ...ovirt import pki
from ..conftest import Lago
from ..topology.test_topology import resolved
from ..web import Web, serving

DATA = b"image".ljust(3 << 20, b".")


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A server of the file `data`; new tries come at once."""
    monkeypatch.setattr(fetching, "_PAUSE", 0.01)
    root = tmp_path / "www"
    root.mkdir()
    (root / "data").write_bytes(DATA)
    with serving(root) as web:
        yield web


def disk(url: str, format_: str = "raw") -> Disk:
    return Disk(name="data", type="file", dev="vda", format=format_, path="images/x", serial="1", source=url)  # type: ignore[arg-type]


def test_a_file_is_fetched_whole(web: Web, tmp_path: Path) -> None:
    fetch(f"{web.url}/data", str(tmp_path / "x"))
    assert (tmp_path / "x").read_bytes() == DATA
    fetch((tmp_path / "x").as_uri(), str(tmp_path / "y"))
    assert (tmp_path / "y").read_bytes() == DATA


def test_a_file_that_was_read_is_open_no_more(tmp_path: Path) -> None:
    place = tmp_path / "x"
    place.write_bytes(DATA)
    stream = Stream(place.as_uri())
    assert str(place) in _open_files()
    assert b"".join(stream) == DATA
    assert str(place) not in _open_files()


def _open_files() -> set[str]:
    return {os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")}


@pytest.mark.parametrize(
    ("path", "says", "hint"),
    [
        ("/missing", "the server says 404 Not Found", "correct the address"),
        ("/loop", "the server says 302 ", "look at it"),
    ],
)
def test_what_cannot_be_had_is_an_error(web: Web, tmp_path: Path, path: str, says: str, hint: str) -> None:
    with pytest.raises(FetchError, match=says) as raised:
        fetch(web.url + path, str(tmp_path / "x"))
    assert raised.value.what.startswith(f"{web.url}{path}: ")
    assert raised.value.hint.startswith(hint)


def test_a_lost_connection_is_made_again_where_it_broke(web: Web, tmp_path: Path) -> None:
    web.cut = [1 << 20, 500_000]
    fetch(f"{web.url}/data", str(tmp_path / "x"))
    assert (tmp_path / "x").read_bytes() == DATA
    assert web.asked("/data") == ["", f"bytes={1 << 20}-", f"bytes={(1 << 20) + 500_000}-"]


def test_a_server_without_ranges_is_read_again_from_the_start(web: Web, tmp_path: Path) -> None:
    web.cut, web.ranges = [1 << 20, 500_000, 2 << 20], False
    fetch(f"{web.url}/data", str(tmp_path / "x"))
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_connection_that_breaks_again_and_again_is_an_error(web: Web, tmp_path: Path) -> None:
    web.cut = [1 << 20, *[0] * 20]
    with pytest.raises(FetchError, match=f"the connection was lost after {1 << 20} of {len(DATA)} bytes") as raised:
        fetch(f"{web.url}/data", str(tmp_path / "x"))
    assert raised.value.hint == "try again"
    assert len(web.requests) == fetching._TRIES


def test_a_file_that_changes_meanwhile_is_an_error(web: Web) -> None:
    web.cut = [1 << 20]
    stream = Stream(f"{web.url}/data")
    blocks = iter(stream)
    next(blocks)
    (web.root / "data").write_bytes(DATA + b"more")
    with pytest.raises(FetchError, match="it was changed while it was fetched"):
        list(blocks)


def test_a_server_that_is_busy_is_asked_again(web: Web, tmp_path: Path) -> None:
    web.failing = [503, 500, 429]
    fetch(f"{web.url}/data", str(tmp_path / "x"))
    assert (tmp_path / "x").read_bytes() == DATA
    web.failing = [503] * fetching._TRIES
    with pytest.raises(FetchError, match="the server says 503") as raised:
        fetch(f"{web.url}/data", str(tmp_path / "x"))
    assert raised.value.code == 503


def test_an_earlier_try_is_gone_on_with_if_it_is_the_same_file(web: Web) -> None:
    first = Stream(f"{web.url}/data")
    again = Stream(f"{web.url}/data", 1000, first.validator)
    assert (again.start, b"".join(again)) == (999, DATA[999:])
    assert Stream(f"{web.url}/data", len(DATA), first.validator).start == len(DATA) - 1
    (web.root / "data").write_bytes(b"new")
    assert b"".join(Stream(f"{web.url}/data", 1000, first.validator)) == b"new"


def test_a_server_that_breaks_after_a_few_bytes_each_time_is_given_up(web: Web, tmp_path: Path) -> None:
    web.cut = [10] * 1000
    with pytest.raises(FetchError, match="the connection was lost after"):
        fetch(f"{web.url}/data", str(tmp_path / "x"))
    assert len(web.requests) == fetching._MOST_LOST


def test_a_server_that_sends_next_to_nothing_is_given_up(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_SLOW_FOR", 0.5)
    web.pieces, web.rest = 1, 0.1
    with pytest.raises(FetchError, match=r"the server sent \d+ bytes in ") as raised:
        fetch(f"{web.url}/data", str(tmp_path / "x"))
    assert raised.value.hint == "try another server"


def test_another_part_than_was_asked_for_is_refused(web: Web) -> None:
    validator = Stream(f"{web.url}/data").validator
    web.shift = 5
    with pytest.raises(FetchError, match="sends another part than it is asked for"):
        Stream(f"{web.url}/data", 1000, validator)


def test_a_server_that_leads_elsewhere_is_followed_again_after_a_failure(web: Web, tmp_path: Path) -> None:
    web.moved, web.cut = {"/old": "/data"}, [0] * (fetching._TRIES - 1)
    fetch(f"{web.url}/old", str(tmp_path / "x"))
    assert (tmp_path / "x").read_bytes() == DATA
    assert [path for path, _ in web.requests] == ["/old", "/data"] * fetching._TRIES


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/", "data:,x"])
def test_a_server_leads_nowhere_but_to_servers(web: Web, tmp_path: Path, to: str) -> None:
    web.moved = {"/old": to}
    with pytest.raises(FetchError):
        fetch(f"{web.url}/old", str(tmp_path / "x"))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "/etc/passwd", "data:,x", "", "x://y", "javascript:1"])
def test_no_other_addresses_are_taken(url: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="is no address that is taken") as raised:
        fetch(url, str(tmp_path / "x"))
    assert raised.value.hint == "it begins with one of: http://, https://, file://"


@pytest.mark.programs
def test_nobody_is_led_from_https_to_http(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pki.make(tmp_path, "localhost")
    with serving(web.root, tmp_path / "server.pem") as safe:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        monkeypatch.setattr(fetching, "_opener", fetching._opener.__wrapped__)
        safe.moved = {"/down": f"{web.url}/data", "/up": "/data"}
        web.moved = {"/up": f"{safe.url}/data"}
        for url in (f"{safe.url}/up", f"{web.url}/up"):
            fetch(url, str(tmp_path / "x"))
            assert (tmp_path / "x").read_bytes() == DATA
        with pytest.raises(FetchError, match=f"leads to {web.url}/data, which is not followed from https") as raised:
            read_text(f"{safe.url}/down")
        assert raised.value.hint == "if that is right, name that address itself"
        assert not web.asked("/data")


def test_a_text_that_is_too_long_is_an_error(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_TEXT_LIMIT", 1 << 20)
    with pytest.raises(FetchError, match="has more than 1 MiB"):
        read_text(f"{web.url}/data")


def test_runs_of_zeros_take_no_space(tmp_path: Path) -> None:
    data = b"a" * 100_000 + bytes(1 << 20) + b"b" * 10 + bytes(200_000)
    path = tmp_path / "x"
    with SparseFile(str(path)) as file:
        for begin in range(0, len(data), 1 << 18):
            file.write(data[begin : begin + (1 << 18)])
    assert path.read_bytes() == data
    assert path.stat().st_blocks * 512 < 600_000
    with SparseFile(str(path), add=True) as file:
        file.write(b"end")
    assert path.read_bytes() == data + b"end"


def test_a_server_that_is_not_there_and_a_file_that_is_not_there_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_PAUSE", 0.01)
    for url, says in (("http://127.0.0.1:1/x", "Connection refused"), ("file:///no/such", "No such file or directory")):
        with pytest.raises(FetchError, match=says):
            fetch(url, str(tmp_path / "x"))


@pytest.mark.programs
class TestDisks:
    def test_d31b_a_disk_with_a_url_and_no_path_is_fetched_into_the_environment(
        self, web: Web, tmp_path: Path, lago: Lago, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SERVER", web.url)
        tmp_path.joinpath("LagoInitFile").write_text(
            "domains: {vm0: {bootstrap: none, disks: [{type: file, url: $SERVER/data, format: raw}]}}\n"
        )
        lago("init")
        assert (tmp_path / ".lago" / "default" / "images" / "vm0_root.raw").read_bytes() == DATA

    def test_what_is_no_image_of_that_format_is_refused_and_not_kept(self, web: Web, tmp_path: Path) -> None:
        (tmp_path / "images").mkdir()
        for path, says in (("/data", "is raw, not qcow2"), ("/missing", "404"), ("/data", "was lost")):
            web.cut = [1 << 20, *[0] * 20] if says == "was lost" else []
            with pytest.raises(LagoError, match=says):
                qemu_img.create(disk(web.url + path, "qcow2"), str(tmp_path))
            assert list((tmp_path / "images").iterdir()) == []

    def test_the_error_is_one_of_disks(self, web: Web, tmp_path: Path) -> None:
        (tmp_path / "images").mkdir()
        with pytest.raises(DiskError):
            qemu_img.create(disk(f"{web.url}/data", "qcow2"), str(tmp_path))


def test_the_format_is_that_of_the_addresss_ending_and_variables_are_filled_in() -> None:
    text = "domains: {vm0: {disks: [{url: $HERE/a.iso}, {url: 'http://x/b'}]}}"
    found = resolved(text, variables={"HERE": "http://y"}).domains["vm0"].disks
    assert [(one.source, one.format) for one in found] == [("http://y/a.iso", "iso"), ("http://x/b", "qcow2")]
