"""Where repository documents and images come from, and what they may name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lago.errors import FetchError, LagoError, TemplateError
from lago.host import fetch as fetching
from lago.templates import TemplateRepository, TemplateStore, TemplateVersion
from lago.templates.lockfile import LockFile
from lago.templates.repository import RESERVED

from ..web import Web, serving

pytestmark = pytest.mark.programs

IMAGE = b"MBR".ljust(1 << 16, b"\0")


def document(url: str, **more: Any) -> dict[str, Any]:
    return {
        "name": "team",
        "sources": {"s": {"type": "http", "args": {"baseurl": url}}},
        "templates": {"t": {"versions": {"1": {"source": "s", "handle": "image", "timestamp": 1}}}},
        **more,
    }


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setattr(fetching, "_PAUSE", 0.01)
    (tmp_path / "www").mkdir()
    with serving(tmp_path / "www") as web:
        publish(web)
        yield web


def publish(web: Web, data: bytes = IMAGE, name: str = "repo", **more: Any) -> None:
    (web.root / "image").write_bytes(data)
    (web.root / f"{name}.json").write_text(json.dumps(document(web.url, **more)))


def version(place: str) -> TemplateVersion:
    return TemplateRepository.from_url(place).get_by_name("t").get_version()


@pytest.fixture
def store(tmp_path: Path) -> TemplateStore:
    return TemplateStore(str(tmp_path / "store"))


def test_a_document_of_a_server_names_no_files_of_this_host(web: Web, store: TemplateStore) -> None:
    publish(web, sources={"s": {"type": "file", "args": {"root": "/"}}})
    with pytest.raises(TemplateError, match="is on a server, and names files of this host as images"):
        store.ensure(version(f"{web.url}/repo.json"))


@pytest.mark.parametrize("baseurl", ["file:///", "ftp://127.0.0.1/", "/", "FILE:///", "data:,"])
@pytest.mark.parametrize("kind", ["http", "cloud"])
def test_a_document_of_a_server_names_only_servers(web: Web, store: TemplateStore, kind: str, baseurl: str) -> None:
    more = {"checksums": "SUMS"} if kind == "cloud" else {}
    publish(web, sources={"s": {"type": kind, "args": {"baseurl": baseurl, **more}}})
    with pytest.raises(FetchError, match="is no address that is taken"):
        store.ensure(version(f"{web.url}/repo.json"))


def test_a_document_on_this_host_may_name_its_files(web: Web, tmp_path: Path, store: TemplateStore) -> None:
    sources = {"s": {"type": "file", "args": {"root": str(web.root)}}}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(document("", sources=sources)))
    for place in (str(path), path.as_uri()):
        assert Path(store.ensure(version(place)).path).read_bytes() == IMAGE


@pytest.mark.parametrize("name", RESERVED)
def test_no_document_is_called_as_one_of_ours(web: Web, tmp_path: Path, name: str) -> None:
    publish(web)
    path = tmp_path / "named.json"
    path.write_text(json.dumps(document(web.url) | {"name": name}))
    with pytest.raises(TemplateError, match=f"is called {name}, as one of Lago's own"):
        TemplateRepository.from_url(str(path))


def test_an_image_is_that_of_the_server_that_it_came_from(web: Web, store: TemplateStore) -> None:
    assert store.ensure(version(f"{web.url}/repo.json")).id == "team:t:1"
    publish(web, b"EVIL".ljust(1 << 16, b"\0"), "other")
    with pytest.raises(TemplateError, match=r"the image team:t:1 of the store is not that of") as caught:
        store.ensure(version(f"{web.url}/other.json"))
    assert caught.value.details == f"it came from a repository of the same name: {web.url}/repo.json"
    assert "lago template rm team:t:1" in caught.value.hint
    assert Path(store.ensure(version(f"{web.url}/repo.json?token=x")).path).read_bytes() == IMAGE


def test_a_document_on_this_host_does_not_get_the_image_of_a_server(
    web: Web, tmp_path: Path, store: TemplateStore
) -> None:
    store.ensure(version(f"{web.url}/repo.json"))
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(document(web.url)))
    with pytest.raises(TemplateError, match="is not that of the repository on this host"):
        store.ensure(version(str(path)))


def test_the_same_image_of_another_server_is_taken(web: Web, store: TemplateStore) -> None:
    (web.root / "image.hash").write_text(hashlib.sha256(IMAGE).hexdigest())
    store.ensure(version(f"{web.url}/repo.json"))
    publish(web, name="mirror")
    assert store.ensure(version(f"{web.url}/mirror.json")).id == "team:t:1"


def test_metadata_does_not_say_where_an_image_came_from(web: Web, store: TemplateStore) -> None:
    (web.root / "image.metadata").write_text(json.dumps({"origin": "http://elsewhere/repo.json"}))
    assert "origin" not in store.ensure(version(f"{web.url}/repo.json")).metadata
    assert json.loads(Path(f"{store.path}/team:t:1.metadata").read_text())["origin"] == f"{web.url}/repo.json"


@pytest.mark.parametrize("name", ["1.metadata", "1.hash", "1.kernel", "1.lock", "1.users"])
def test_no_version_is_called_as_what_belongs_to_another(web: Web, store: TemplateStore, name: str) -> None:
    store.ensure(version(f"{web.url}/repo.json"))
    versions = {name: {"source": "s", "handle": "image", "timestamp": 1}}
    publish(web, templates={"t": {"versions": versions}})
    with pytest.raises(TemplateError, match="what ends so is no image"):
        store.ensure(version(f"{web.url}/repo.json"))


@pytest.mark.parametrize(
    "change",
    [
        {"name": 5},
        {"name": "a:b"},
        {"name": "x\x1b[2J"},
        {"name": "../x"},
        {"name": ""},
        {"sources": []},
        {"sources": {"s": 5}},
        {"sources": {"s": {"type": "http", "args": {"baseurl": 5}}}},
        {"sources": {"s": {"type": "http", "args": ["x"]}}},
        {"sources": {"s": {"type": ["http"]}}},
        {"sources": {"s": {"type": "http", "args": {"baseurl": "http://x/\nHost: y"}}}},
        {"templates": {"t": []}},
        {"templates": {"t": {"versions": {"1": 5}}}},
        {"templates": {"t": {"versions": {"1": {"source": "s", "handle": ["x"], "timestamp": 1}}}}},
        {"templates": {"t": {"versions": {"1": {"source": "s", "handle": "a\nb", "timestamp": 1}}}}},
        {"templates": {"t": {"versions": {"1": {"source": ["s"], "handle": "x", "timestamp": 1}}}}},
        {"templates": {"t": {"versions": {"1": {"source": "s", "handle": "x", "timestamp": "nan"}}}}},
        {"templates": {"t": {"versions": {"1": {"source": "s", "handle": "x", "timestamp": 10**400}}}}},
        {"templates": {"t": {"versions": {"1:2": {"source": "s", "handle": "x", "timestamp": 1}}}}},
        {"templates": {"t": {"metadata": ["x"], "versions": {}}}},
    ],
    ids=json.dumps,
)
def test_what_a_document_has_of_the_wrong_kind_is_told(web: Web, change: dict[str, Any]) -> None:
    publish(web)
    dom = document(web.url) | change
    (web.root / "repo.json").write_text(json.dumps(dom))
    with pytest.raises(TemplateError):
        version(f"{web.url}/repo.json")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"name": NaN}', '{"a":' * 5000 + "1" + "}" * 5000, "1" * 5000, "\0"])
def test_what_is_no_honest_json_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x"
    for name in ("x", "x.lock"):
        (tmp_path / name).write_text(text)
    for read in (TemplateRepository.from_url, LockFile):
        with pytest.raises(LagoError):
            read(str(path))


@pytest.mark.parametrize(
    "images",
    [
        [],
        {"t": 5},
        {"t": {"image": "x"}},
        {"t": {"image": "../../x", "sha256": "0"}},
        {"t\n": {}},
        {"t": {"image": []}},
    ],
    ids=json.dumps,
)
def test_what_a_lock_file_has_of_the_wrong_kind_is_told(tmp_path: Path, images: Any) -> None:
    (tmp_path / "x.lock").write_text(json.dumps({"version": 1, "images": images}))
    with pytest.raises(TemplateError, match="is no lock file"):
        LockFile(str(tmp_path / "x"))
