"""Repositories of earlier releases at an address: `image.xz`, its SHA-1 in `image.hash`, and `image.metadata`."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago.host import fetch as fetching

from ..conftest import Lago
from ..web import Web, serving

pytestmark = pytest.mark.programs

IMAGE = b"MBR".ljust(4096, b"\0") + os.urandom(1 << 20) + bytes(1 << 20)
PACKED = lzma.compress(IMAGE, preset=0)
SHA1 = hashlib.sha1(IMAGE).hexdigest()
INIT_FILE = (
    "domains: {vm0: {bootstrap: none, disks: [{template_name: el7-base}], nics: [{net: lan}]}}\nnets: {lan: {}}\n"
)


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A server with one template, of which the newest version is the second one, and an init file that wants it."""
    monkeypatch.setattr(fetching, "_PAUSE", 0.01)
    monkeypatch.setenv("LAGO_TEMPLATE_STORE", str(tmp_path / "store"))
    (tmp_path / "LagoInitFile").write_text(INIT_FILE)
    root = tmp_path / "www" / "repo"
    root.mkdir(parents=True)
    (root / "el7.xz").write_bytes(PACKED)
    (root / "el7.hash").write_text(f"{SHA1}\n")
    (root / "el7.metadata").write_text(json.dumps({"distro": "el7", "root-password": 123456, "arch": "x86_64"}))
    with serving(root.parent) as web:
        versions = {
            "v1": {"source": "site", "handle": "gone", "timestamp": 1428328144},
            "v2": {"source": "site", "handle": "el7", "timestamp": 1428328145},
        }
        # Older documents end the address with a slash, newer ones do not.
        document = {
            "name": "office",
            "sources": {"site": {"type": "http", "args": {"baseurl": f"{web.url}/repo/"}}},
            "templates": {"el7-base": {"versions": versions}},
        }
        (root / "repo.metadata").write_text(json.dumps(document))
        yield web


def init(lago: Lago, web: Web, code: int = 0) -> str:
    """Run `init` as scripts do; its error output."""
    return lago.both(
        "init", "--template-repo-path", f"{web.url}/repo/repo.metadata", "--template-repo-name", "office", code=code
    )[1]


def stored(tmp_path: Path) -> dict[str, bytes]:
    """What the store has, without locks and notes of who uses what."""
    files = (path for path in (tmp_path / "store").iterdir() if path.is_file() and not path.name.endswith(".lock"))
    return {path.name: path.read_bytes() for path in files}


def test_an_image_with_its_checksum_and_metadata_is_used(lago: Lago, web: Web, tmp_path: Path) -> None:
    init(lago, web)
    found = stored(tmp_path)
    assert found["office:el7-base:v2"] == IMAGE
    assert json.loads(found["office:el7-base:v2.metadata"])["distro"] == "el7"
    vm = json.loads(lago("-f", "json", "status"))["Prefix"]["VMs"]["vm0"]
    assert (vm["distro"], vm["root password"]) == ("el7", "123456")
    assert [path for path, _ in web.requests if path.startswith("/repo/el7")][-1] != "/repo/el7"


def test_an_image_that_is_not_packed_is_used(lago: Lago, web: Web, tmp_path: Path) -> None:
    (tmp_path / "www" / "repo" / "el7.xz").unlink()
    (tmp_path / "www" / "repo" / "el7").write_bytes(IMAGE)
    init(lago, web)
    assert stored(tmp_path)["office:el7-base:v2"] == IMAGE


def test_files_beside_the_packed_image_may_be_called_after_it(lago: Lago, web: Web, tmp_path: Path) -> None:
    for kind in ("hash", "metadata"):
        path = tmp_path / "www" / "repo" / f"el7.{kind}"
        path.rename(path.with_name(f"el7.xz.{kind}"))
    init(lago, web)
    assert json.loads(lago("-f", "json", "status"))["Prefix"]["VMs"]["vm0"]["distro"] == "el7"


@pytest.mark.parametrize("status", [403, 404, 410])
def test_what_is_not_beside_an_image_is_missed_by_nobody(lago: Lago, web: Web, tmp_path: Path, status: int) -> None:
    web.absent = status
    if status != 403:
        (tmp_path / "www" / "repo" / "el7.metadata").unlink()
        (tmp_path / "www" / "repo" / "el7.hash").unlink()
    init(lago, web)
    assert stored(tmp_path)["office:el7-base:v2"] == IMAGE


def test_a_wrong_checksum_keeps_an_image_out_and_leaves_nothing(lago: Lago, web: Web, tmp_path: Path) -> None:
    (tmp_path / "www" / "repo" / "el7.hash").write_text("0" * 40)
    err = init(lago, web, code=2)
    assert f"expected checksum {'0' * 40}" in err
    assert f"found checksum    {SHA1}" in err
    assert f"source {web.url}/repo/el7.hash" in err
    assert stored(tmp_path) == {}
    assert not (tmp_path / ".lago").exists()


def test_an_archive_that_was_cut_off_where_it_lies_is_told(lago: Lago, web: Web, tmp_path: Path) -> None:
    (tmp_path / "www" / "repo" / "el7.xz").write_bytes(PACKED[:-1000])
    assert f"{web.url}/repo/el7.xz can't be unpacked: it is damaged or cut off" in init(lago, web, code=2)
    assert stored(tmp_path) == {}


def test_an_archive_that_is_cut_off_on_its_way_is_fetched_to_its_end(lago: Lago, web: Web, tmp_path: Path) -> None:
    web.cut = [500_000, 300_000]
    init(lago, web)
    assert stored(tmp_path)["office:el7-base:v2"] == IMAGE
    assert len(web.asked("/repo/el7.xz")) == 3


def test_an_image_that_is_not_there_is_told_by_its_address(lago: Lago, web: Web, tmp_path: Path) -> None:
    (tmp_path / "www" / "repo" / "el7.xz").unlink()
    err = init(lago, web, code=2)
    assert f"lago: {web.url}/repo/el7: the server says 404 Not Found" in err
    assert "hint: correct the address" in err
    assert not (tmp_path / ".lago").exists()


def test_everything_may_have_moved(lago: Lago, web: Web, tmp_path: Path) -> None:
    (tmp_path / "www" / "repo").rename(tmp_path / "www" / "new")
    for name in ("repo.metadata", "el7.xz", "el7.hash", "el7.metadata"):
        web.moved[f"/repo/{name}"] = f"{web.url}/new/{name}"
    init(lago, web)
    assert stored(tmp_path)["office:el7-base:v2"] == IMAGE


def test_a_server_that_leads_in_circles_is_told(lago: Lago, web: Web) -> None:
    web.moved["/repo/el7.xz"] = "/repo/el7.xz"
    assert "/repo/el7" in init(lago, web, code=2)


def test_a_slow_server_is_waited_for_as_long_as_something_comes(
    lago: Lago, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All of it takes longer than what may pass without a byte.
    monkeypatch.setattr(fetching, "_TIMEOUT", 1)
    web.pieces, web.rest = len(PACKED) // 20, 0.1
    init(lago, web)
    assert stored(tmp_path)["office:el7-base:v2"] == IMAGE
    assert web.asked("/repo/el7.xz") == [""]


def test_a_server_that_falls_silent_is_asked_again(
    lago: Lago, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_TIMEOUT", 0.5)
    web.pieces, web.rest = 700_000, 2.0
    init(lago, web)
    assert stored(tmp_path)["office:el7-base:v2"] == IMAGE
    assert len(web.asked("/repo/el7.xz")) > 1


def test_a_name_that_is_not_that_of_the_document_is_told(lago: Lago, web: Web) -> None:
    path = f"{web.url}/repo/repo.metadata"
    err = lago.both("init", "--template-repo-path", path, "--template-repo-name", "elsewhere", code=2)[1]
    assert "office" in err
    assert "elsewhere" in err
