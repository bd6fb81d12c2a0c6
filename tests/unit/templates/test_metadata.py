"""Metadata of images: what servers, documents and exports may say, and what none of them may."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lago.errors import TemplateError
from lago.templates import TemplateRepository, TemplateStore
from lago.templates.metadata import check_metadata

from ..web import Web, serving

IMAGE = bytes(510) + b"\x55\xaa" + bytes(4096)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    (tmp_path / "www").mkdir()
    with serving(tmp_path / "www") as web:
        (web.root / "image").write_bytes(IMAGE)
        yield web


@pytest.fixture
def store(tmp_path: Path) -> TemplateStore:
    return TemplateStore(str(tmp_path / "store"))


def got(web: Web, store: TemplateStore, beside: Any = None, in_document: Any = None) -> dict[str, Any]:
    """What is known of an image in the end, of what its server and the document say."""
    if beside is not None:
        (web.root / "image.metadata").write_text(beside if isinstance(beside, str) else json.dumps(beside))
    version = {"source": "s", "handle": "image", "timestamp": 1, "metadata": in_document or {}}
    dom = {
        "name": "r",
        "sources": {"s": {"type": "http", "args": {"baseurl": web.url}}},
        "templates": {"t": {"versions": {"1": version}}},
    }
    return {**store.ensure(TemplateRepository(dom).get_by_name("t").get_version()).metadata}


HOST_FILES = {"kernel": "/boot/vmlinuz", "kernel-efi": "/boot/vmlinuz", "initrd": "/root/.ssh/id_rsa"}


@pytest.mark.parametrize("where", ["beside", "in_document"])
def test_no_file_of_this_host_is_a_kernel_or_an_initrd(web: Web, store: TemplateStore, where: str) -> None:
    assert got(web, store, **{where: {**HOST_FILES, "distro": "d"}}) == {"distro": "d"}
    assert not any("id_rsa" in path.read_text(errors="replace") for path in Path(store.path).glob("*.metadata"))


def test_what_an_earlier_release_stored_is_checked_when_it_is_read(web: Web, store: TemplateStore) -> None:
    got(web, store)
    path = Path(store.path, "r:t:1.metadata")
    path.write_text(json.dumps({**HOST_FILES, "distro": "d"}))
    assert store.image("r:t:1").metadata == {"distro": "d"}
    # What lies beside the image in the store is its own.
    Path(store.path, "r:t:1.initrd").write_text("initrd")
    assert store.image("r:t:1").metadata["initrd"] == f"{store.path}/r:t:1.initrd"
    path.write_text('{"ssh-user": "a b"}')
    with pytest.raises(TemplateError, match="the metadata of r:t:1 can't be used: its 'ssh-user'") as caught:
        store.image("r:t:1")
    assert caught.value.hint.startswith("lago template rm r:t:1")
    store.remove("r:t:1")


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"ssh-user": "root\nProxyCommand id"}, "its 'ssh-user' is "),
        ({"ssh-user": "{{ lookup('pipe', 'id') }}"}, "its 'ssh-user' is "),
        ({"default-user": "-oProxyCommand=id"}, "its 'default-user' is "),
        ({"minimum-memory": "lots"}, "its 'minimum-memory' is \"lots\", where a whole number is expected"),
        ({"minimum-memory": [512]}, "a whole number is expected"),
        ({"minimum-memory": True}, "a whole number is expected"),
        ({"guest-agent": "no"}, "true or false is expected"),
        ({"cmdline": "a\nb"}, "text on one line is expected"),
        ({"cmdline": ["quiet"]}, "text on one line is expected"),
        ({"distro": {"name": "d"}}, "text on one line is expected"),
        ({"distro": "a\x1b[2J"}, "text on one line is expected"),
        ({"bootstrap": "../x"}, "a name is expected"),
        ({"kernel-version": "../../etc"}, "a name is expected"),
        ({"root-password": True}, "text on one line is expected"),
        ({"a\nb": 1}, "a key on one line is expected"),
        ({"x": "y" * (1 << 20)}, "larger than 1 MiB"),
        ("[" * 100_000 + "]" * 100_000, "is not JSON"),
        ("[]", "is not a JSON object"),
    ],
)
def test_what_can_not_be_used_is_told_with_template_and_key(
    web: Web, store: TemplateStore, metadata: Any, says: str
) -> None:
    with pytest.raises(TemplateError) as caught:
        got(web, store, metadata)
    assert says in caught.value.what
    assert "r:t:1" in caught.value.what or f"{web.url}/image.metadata" in caught.value.what
    assert store.list() == []


def test_numbers_are_text_where_text_is_wanted_and_what_is_unknown_is_kept(web: Web, store: TemplateStore) -> None:
    said = {
        "root-password": 123456,
        "distro": 9.3,
        "minimum-memory": "512",
        "guest-agent": False,
        "ssh-user": None,
        "base": None,
        "packages": {"nginx": "1.22"},
        "note": "two\nlines",
    }
    assert got(web, store, said) == {
        "root-password": "123456",
        "distro": "9.3",
        "minimum-memory": 512,
        "guest-agent": False,
        "base": None,
        "packages": {"nginx": "1.22"},
        "note": "two\nlines",
    }


def test_the_users_name_is_what_an_init_file_may_have() -> None:
    for user in ("root", "a.b-c_d", "svc$"):
        assert check_metadata({"ssh-user": user}, "x", "") == {"ssh-user": user}


def test_the_format_of_an_image_is_recorded_when_it_comes(web: Web, store: TemplateStore) -> None:
    got(web, store)
    assert json.loads(Path(store.path, "r:t:1.metadata").read_text())["format"] == "raw"
    # A raw image stays raw, whatever it becomes to look like.
    Path(store.path, "r:t:1").write_bytes(b"QFI\xfb" + IMAGE)
    assert store.image("r:t:1").format == "raw"
