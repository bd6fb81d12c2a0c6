"""Images from web servers laid out as those of earlier releases and of distributions: packed, damaged, cut off."""

from __future__ import annotations

import bz2
import functools
import gzip
import hashlib
import json
import lzma
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from lago.errors import FetchError, HostError, TemplateError
from lago.host import fetch as fetching
from lago.templates import TemplateRepository, TemplateStore, TemplateVersion, checksums
from lago.templates.repository import CATALOGUE

from ..conftest import Lago
from ..web import Web, serving

IMAGE = b"MBR".ljust(4096, b"\0") + os.urandom(3 << 20) + bytes(2 << 20)
SHA256 = hashlib.sha256(IMAGE).hexdigest()

PACK: dict[str, Callable[[bytes], bytes]] = {
    "as it is": bytes,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz in two parts": lambda data: lzma.compress(data[:1000]) + lzma.compress(data[1000:]),
    "zstd in two parts": lambda data: zstandard.compress(data[:1000]) + zstandard.compress(data[1000:]),
}


@functools.cache
def packed(kind: str = "xz") -> bytes:
    """The image, packed; that takes long."""
    return PACK[kind](IMAGE)


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setattr(fetching, "_PAUSE", 0.01)
    (tmp_path / "www").mkdir()
    with serving(tmp_path / "www") as web:
        yield web


@pytest.fixture
def store(tmp_path: Path) -> TemplateStore:
    return TemplateStore(str(tmp_path / "store"))


def document(url: str, handle: str = "image", **args: str) -> dict[str, Any]:
    kind = "cloud" if "checksums" in args else "http"
    return {
        "name": "repo",
        "sources": {"web": {"type": kind, "args": {"baseurl": url, **args}}},
        "templates": {"t": {"versions": {"1": {"source": "web", "handle": handle, "timestamp": 1}}}},
    }


def version(web: Web, handle: str = "image", **args: str) -> TemplateVersion:
    """A version from a server, by a document that the server has as well."""
    (web.root / "repo.json").write_text(json.dumps(document(web.url, handle, **args)))
    return TemplateRepository.from_url(f"{web.url}/repo.json").get_by_name("t").get_version()


def publish(web: Web, data: bytes = IMAGE, name: str = "image", digest: str = SHA256) -> None:
    (web.root / name).write_bytes(data)
    (web.root / "image.hash").write_text(f"{digest}\n")
    (web.root / "image.metadata").write_text('{"distro": "x"}')


def left(store: TemplateStore) -> list[str]:
    return sorted(name for name in os.listdir(store.path) if not name.endswith(".lock"))


@pytest.mark.parametrize("kind", PACK)
def test_what_is_packed_is_unpacked_by_its_content(web: Web, store: TemplateStore, kind: str) -> None:
    publish(web, packed(kind))
    image = store.ensure(version(web))
    assert Path(image.path).read_bytes() == IMAGE
    assert image.metadata == {"distro": "x"}
    assert store.digest("repo:t:1") == SHA256
    assert left(store) == ["repo:t:1", "repo:t:1.hash", "repo:t:1.metadata"]
    # The zeros at the end are a hole.
    assert os.stat(image.path).st_blocks * 512 < len(IMAGE) - (1 << 20)


def test_the_packed_image_is_preferred_and_its_checksum_is_of_the_image(web: Web, store: TemplateStore) -> None:
    publish(web, packed(), "image.xz", hashlib.sha1(IMAGE).hexdigest())
    assert Path(store.ensure(version(web)).path).read_bytes() == IMAGE
    assert "/image" not in [path for path, _ in web.requests]


def test_a_wrong_checksum_names_expected_found_and_source(web: Web, store: TemplateStore) -> None:
    publish(web, packed(), digest="0" * 64)
    with pytest.raises(TemplateError) as caught:
        store.ensure(version(web))
    assert caught.value.details.splitlines() == [
        f"expected checksum {'0' * 64}",
        f"found checksum    {SHA256}",
        f"source {web.url}/image.hash",
    ]
    assert left(store) == []


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (lambda: b"<!DOCTYPE html>\n<title>sorry</title>", "is a page for people, not an image"),
        (bytes, "is empty"),
        (lambda: packed()[:-1000], "is damaged or cut off"),
        (lambda: gzip.compress(b"<html>", mtime=0)[:-3], "is damaged or cut off"),
        (lambda: packed()[:1000] + b"?" * 1000, "is damaged or cut off"),
        (lambda: packed("zstd")[:-1000], "is not what its source published|is damaged or cut off"),
    ],
)
def test_what_is_no_image_is_not_stored(web: Web, store: TemplateStore, data: Callable[[], bytes], says: str) -> None:
    publish(web, data())
    with pytest.raises(TemplateError, match=says) as caught:
        store.ensure(version(web))
    assert caught.value.hint
    assert left(store) == []


def test_a_server_that_has_a_page_for_everything_has_no_images(web: Web, store: TemplateStore) -> None:
    wanted = version(web)
    web.pages = True
    with pytest.raises(TemplateError, match=r"<!DOCTYPE.* is no SHA-1"):
        store.ensure(wanted)
    assert left(store) == []
    with pytest.raises(TemplateError, match="is not JSON") as caught:
        TemplateRepository.from_url(f"{web.url}/nothing.json")
    assert "line 1, column 1" in caught.value.details


def test_an_image_without_a_checksum_is_stored_and_gets_one(web: Web, store: TemplateStore) -> None:
    (web.root / "image").write_bytes(IMAGE)
    store.ensure(version(web))
    assert store.digest("repo:t:1") == SHA256


def test_resets_in_the_middle_of_a_packed_image_do_no_harm(web: Web, store: TemplateStore) -> None:
    publish(web, packed())
    web.cut = [100_000, 1 << 20]
    assert Path(store.ensure(version(web)).path).read_bytes() == IMAGE
    assert web.asked("/image") == ["", "bytes=100000-", f"bytes={(1 << 20) + 100_000}-"]


@pytest.mark.parametrize("kind", ["as it is", "xz"])
def test_a_later_try_goes_on_where_an_earlier_one_ended(web: Web, store: TemplateStore, kind: str) -> None:
    publish(web, packed(kind))
    web.cut = [2 << 20, *[0] * 10]
    with pytest.raises(FetchError, match="the connection was lost"):
        store.ensure(version(web))
    assert (store.list(), left(store)) == ([], [".repo:t:1.part"])
    web.cut.clear()
    web.requests.clear()
    assert Path(store.ensure(version(web)).path).read_bytes() == IMAGE
    assert web.asked("/image") == [f"bytes={(2 << 20) - 1}-"]
    assert left(store) == ["repo:t:1", "repo:t:1.hash", "repo:t:1.metadata"]


def test_what_is_left_of_an_earlier_try_and_damaged_is_fetched_again(web: Web, store: TemplateStore) -> None:
    publish(web)
    web.cut = [2 << 20, *[0] * 10]
    with pytest.raises(FetchError):
        store.ensure(version(web))
    web.cut.clear()
    kept = Path(store.path) / ".repo:t:1.part" / "image.fetched"
    kept.write_bytes(b"?" * kept.stat().st_size)
    assert Path(store.ensure(version(web)).path).read_bytes() == IMAGE


_FETCH = """
import sys
from lago.templates import TemplateRepository, TemplateStore
version = TemplateRepository.from_url(sys.argv[1]).get_by_name("t").get_version()
print(TemplateStore(sys.argv[2]).ensure(version).path)
"""


def _fetching(web: Web, store: TemplateStore) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", _FETCH, f"{web.url}/repo.json", store.path]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.programs
def test_twenty_processes_fetch_an_image_once(web: Web, store: TemplateStore) -> None:
    publish(web, packed())
    version(web)
    processes = [_fetching(web, store) for _ in range(20)]
    for process in processes:
        out, err = process.communicate(timeout=300)
        assert (process.returncode, out) == (0, f"{store.path}/repo:t:1\n"), err
    assert web.asked("/image") == [""]


@pytest.mark.programs
def test_a_store_repairs_itself_after_kill_9_at_any_time(web: Web, store: TemplateStore) -> None:
    publish(web, packed())
    wanted = version(web)
    for hundredth in range(8):
        web.requests.clear()
        with _fetching(web, store) as process:
            while not web.asked("/image") and process.poll() is None:
                time.sleep(0.001)
            time.sleep(hundredth / 100)
            process.send_signal(signal.SIGKILL)
        assert store.list() == [] or Path(store.get_path(wanted)).read_bytes() == IMAGE
    assert Path(store.ensure(wanted).path).read_bytes() == IMAGE
    assert left(store) == ["repo:t:1", "repo:t:1.hash", "repo:t:1.metadata"]


@pytest.mark.programs
@pytest.mark.parametrize(
    ("when", "ending"), [("before", ".metadata"), ("before", ".hash"), ("before", "/repo:t:1"), ("after", "/repo:t:1")]
)
def test_what_a_kill_leaves_goes_with_the_next_try(web: Web, store: TemplateStore, when: str, ending: str) -> None:
    publish(web, packed())
    wanted = version(web)
    killed = f"""
import os, signal
def dying(renamed):
    def rename(source, target):
        if "{when}" == "after":
            renamed(source, target)
        if target.endswith("{ending}"):
            os.kill(os.getpid(), signal.SIGKILL)
        if "{when}" == "before":
            renamed(source, target)
    return rename
os.rename, os.replace = dying(os.rename), dying(os.replace)
{_FETCH}"""
    argv = [sys.executable, "-c", killed, f"{web.url}/repo.json", store.path]
    assert subprocess.run(argv, check=False).returncode == -signal.SIGKILL
    assert ".repo:t:1.part" in left(store)
    assert (store.list() != []) == (when == "after")
    store.ensure(wanted)
    assert left(store) == ["repo:t:1", "repo:t:1.hash", "repo:t:1.metadata"]


@pytest.mark.programs
def test_a_full_disk_is_told_and_leaves_the_store_as_it_was(web: Web, tmp_path: Path) -> None:
    from ...vm.test_failures import small

    publish(web, packed())
    place = tmp_path / "full"
    place.mkdir()
    with small(place, 2000):
        store = TemplateStore(str(place / "store"))
        with pytest.raises(HostError, match="No space left") as caught:
            store.ensure(version(web))
        assert "MiB are free" in caught.value.hint
        assert left(store) == []


@pytest.mark.programs
@pytest.mark.parametrize("source", ["http", "cloud"])
@pytest.mark.parametrize("kind", ["as it is", "xz", "gzip", "zstd"])
def test_the_first_init_gets_its_image_into_an_empty_store(
    web: Web, store: TemplateStore, lago: Lago, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, source: str
) -> None:
    data = packed(kind)
    if source == "http":
        publish(web, data, "image.xz" if kind == "xz" else "image")
        version(web)
    else:
        (web.root / "image").write_bytes(data)
        (web.root / "SUMS").write_text(f"{hashlib.sha512(data).hexdigest()}  image\n")
        version(web, checksums="SUMS")
    monkeypatch.setenv("LAGO_TEMPLATE_REPO_PATH", f"{web.url}/repo.json")
    monkeypatch.setenv("LAGO_TEMPLATE_STORE", store.path)
    (tmp_path / "LagoInitFile").write_text("domains: {vm0: {bootstrap: none, disks: [{template_name: t}]}}\n")
    lago("init")
    (identity,) = store.list()
    assert Path(store.image(identity).path).read_bytes() == IMAGE
    assert (tmp_path / ".lago" / "default" / "images" / "vm0_root.qcow2").exists()
    assert json.loads((tmp_path / "LagoInitFile.lock").read_text())["images"]["t"]["sha256"] == SHA256


# --- checksum files

GNU = f"{'a' * 64}  image-9.qcow2\n{'b' * 64} *image-10.qcow2\n{'c' * 64}  other.qcow2\n"
BSD = f"# image: 5 bytes\nSHA256 (image-9.qcow2) = {'a' * 64}\nSHA256 (image-10.qcow2) = {'b' * 64}\n"
SIGNED = f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{BSD}-----BEGIN PGP SIGNATURE-----\n\niQIz+x/=\n"


@pytest.mark.parametrize("text", [GNU, BSD, SIGNED])
def test_checksums_are_read_in_the_forms_of_all_distributions(text: str) -> None:
    assert checksums.find(text, "image-9.qcow2", "there") == ("image-9.qcow2", "a" * 64)
    assert checksums.find(text, "image-*.qcow2", "there") == ("image-10.qcow2", "b" * 64)


def test_a_checksum_alone_is_that_of_the_file_that_is_asked_for() -> None:
    assert checksums.find("d" * 128 + "\n", "x.qcow2", "x.qcow2.sha512") == ("x.qcow2", "d" * 128)
    dated = f"{'e' * 64}  x-20250101.qcow2\n"
    assert checksums.find(dated, "x.qcow2", "x.qcow2.sha256", own=True) == ("x.qcow2", "e" * 64)


def test_of_several_checksums_the_longest_counts() -> None:
    text = f"SHA1 (x) = {'1' * 40}\nSHA512 (x) = {'5' * 128}\nSHA256 (x) = {'2' * 64}\n"
    assert checksums.parse(text) == {"x": "5" * 128}


def test_a_checksum_file_without_the_entry_is_an_error_with_near_names() -> None:
    with pytest.raises(TemplateError, match=r"SHA256SUMS has no checksum of imag-9.qcow2") as caught:
        checksums.find(GNU, "imag-9.qcow2", "SHA256SUMS")
    assert caught.value.hint == "did you mean image-9.qcow2?"
    with pytest.raises(TemplateError) as caught:
        checksums.find("<html>", "x", "SHA256SUMS")
    assert caught.value.hint == "is that a file with checksums?"


# --- the catalogue, from a server laid out as those of distributions


def _mirror(root: Path, source: dict[str, Any], handle: str, data: bytes) -> None:
    """Lay out an image and its checksums as the distribution does, in the form that it uses."""
    path = root / handle.replace("*", "1.7")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    name = source["args"]["checksums"].replace("{name}", path.name)
    kind = {"SHA512SUMS": "sha512", "{name}.sha512": "sha512"}.get(source["args"]["checksums"], "sha256")
    digest = hashlib.new(kind, data).hexdigest()
    lines = {
        "CHECKSUM": f"SHA256 ({path.name}) = {digest}\n",
        "SHA256SUMS": f"{digest} *{path.name}\n",
        "{name}.sha512": f"{digest}\n",
    }
    text = lines.get(source["args"]["checksums"], f"{digest}  {path.name}\n")
    with path.with_name(name).open("a") as file:
        file.write(text)


@pytest.mark.programs
@pytest.mark.parametrize("name", TemplateRepository.from_url(CATALOGUE).names())
def test_an_entry_of_the_catalogue_is_had_from_a_server_laid_out_so(
    web: Web, store: TemplateStore, tmp_path: Path, name: str
) -> None:
    from lago.disks import qemu_img

    qemu_img.create_empty(str(tmp_path / "qcow2"), 1 << 30)
    catalogue = json.loads(Path(CATALOGUE).read_text())
    template = catalogue["templates"][name]
    (wanted,) = template["versions"].values()
    source = catalogue["sources"][wanted["source"]]
    assert source["args"]["baseurl"].startswith("https://")
    source["args"]["baseurl"] = web.url
    _mirror(web.root, source, wanted["handle"], (tmp_path / "qcow2").read_bytes())
    found = TemplateRepository(catalogue, "catalogue").get_by_name(name).get_version()
    image = store.ensure(found)
    assert image.id == f"{found.base}.{found.get_hash()[:8]}"  # type: ignore[index]
    assert image.format == "qcow2"
    assert image.metadata["bootstrap"] == "cloud-init"
    assert {"distro", "default-user", "minimum-memory", "arch"} <= {*image.metadata}


def test_a_new_image_of_the_same_name_is_a_new_version_and_an_old_one_serves_offline(
    web: Web, store: TemplateStore, caplog: pytest.LogCaptureFixture
) -> None:
    from lago.templates.choose import Chooser

    def get() -> str:
        version(web, "d/image-*", checksums="SUMS")
        repository = TemplateRepository.from_url(f"{web.url}/repo.json")
        return Chooser(repository, store).get("t").id

    (web.root / "d").mkdir()
    for data in (b"one", b"two"):
        digest = hashlib.sha512(data).hexdigest()
        (web.root / "d" / f"image-{data.decode()}").write_bytes(data)
        (web.root / "d" / "SUMS").write_text(f"{digest}  image-{data.decode()}\n")
        assert get() == f"repo:t:1.{digest[:8]}"
    assert len(store.list()) == 2
    (web.root / "d" / "SUMS").unlink()
    assert get() == f"repo:t:1.{digest[:8]}"
    assert "SUMS: the server says 404" in caplog.text
