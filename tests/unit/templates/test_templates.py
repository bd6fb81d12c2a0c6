"""Repositories, the store, and the parts that images are built from."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import struct
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lago import templates
from lago.errors import HostError, TemplateError
from lago.templates import TemplateRepository, TemplateStore
from lago.templates.build import RECIPES, kernel, mirrors
from lago.templates.build.tree import Tree

CONTENT = b"an image\n" * 100


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    root = tmp_path / "files"
    root.mkdir()
    (root / "image").write_bytes(CONTENT)
    (root / "image.hash").write_text(hashlib.sha256(CONTENT).hexdigest() + "\n")
    (root / "image.metadata").write_text('{"distro": "x"}')
    versions = {
        "1": {"source": "here", "handle": "image", "timestamp": 1},
        "2": {"source": "here", "handle": "image", "timestamp": 2},
    }
    return {
        "name": "repo",
        "sources": {"here": {"type": "file", "args": {"root": str(root)}}},
        "templates": {"fedora": {"versions": versions}},
    }


def _repository(document: dict[str, Any], tmp_path: Path) -> TemplateRepository:
    path = tmp_path / "repository.json"
    path.write_text(json.dumps(document))
    return TemplateRepository.from_url(str(path))


def test_the_embedded_repository_has_a_recipe_for_each_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAGO_TEMPLATE_REPO_PATH", raising=False)
    repository = templates.default_repository()
    assert repository.name == "lago"
    assert {*RECIPES} <= {*repository.names()}
    for name in RECIPES:
        identity = repository.get_by_name(name).get_version().name
        assert identity == f"lago:{name}:12.1.{RECIPES[name].digest()[:8]}"


def test_the_latest_version_is_the_default(document: dict[str, Any], tmp_path: Path) -> None:
    template = _repository(document, tmp_path).get_by_name("fedora")
    assert template.get_version().name == "repo:fedora:2"
    assert template.get_version("1").name == "repo:fedora:1"
    assert template.get_version("1").timestamp() == 1
    with pytest.raises(TemplateError) as caught:
        template.get_version("3")
    assert caught.value.hint == "its versions are: 1, 2"


def test_an_unknown_template_has_near_names(document: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(TemplateError) as caught:
        _repository(document, tmp_path).get_by_name("fedroa")
    assert caught.value == TemplateError("the repository repo has no template fedroa", hint="did you mean fedora?")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"name": "x", "templates": {}}', "has no member `sources`"),
    ],
)
def test_a_malformed_repository_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "repository.json"
    path.write_text(text)
    with pytest.raises(TemplateError, match=message) as caught:
        TemplateRepository.from_url(str(path))
    assert str(path) in caught.value.what


def test_a_missing_repository_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="No such file"):
        TemplateRepository.from_url(str(tmp_path / "nothing.json"))


def test_unknown_and_missing_sources_are_errors(document: dict[str, Any], tmp_path: Path) -> None:
    document["sources"]["here"]["type"] = "ftp"
    with pytest.raises(TemplateError, match="unknown type ftp"):
        _repository(document, tmp_path).get_by_name("fedora")
    document["sources"] = {}
    with pytest.raises(TemplateError, match="no source here"):
        _repository(document, tmp_path).get_by_name("fedora")


def test_wrong_arguments_of_a_source_are_an_error(document: dict[str, Any], tmp_path: Path) -> None:
    document["sources"]["here"]["args"] = {"rot": "/x"}
    with pytest.raises(TemplateError, match=r"wrong args: .*rot"):
        _repository(document, tmp_path).get_by_name("fedora")


def test_the_store_keeps_what_a_source_has(document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "files" / "image.kernel").write_bytes(b"kernel")
    version = _repository(document, tmp_path).get_by_name("fedora").get_version()
    store = TemplateStore(str(tmp_path / "store"))
    assert version not in store
    assert store.list() == []
    image = store.ensure(version)
    assert version in store
    assert store.list() == ["repo:fedora:2"]
    assert Path(image.path).read_bytes() == CONTENT
    assert store.get_path(version) == image.path == str(tmp_path / "store" / "repo:fedora:2")
    assert image.format == "raw"
    assert image.metadata == {"distro": "x", "kernel": f"{image.path}.kernel"}
    assert store.get_stored_hash(version) == hashlib.sha256(CONTENT).hexdigest()
    assert {p.name.removeprefix("repo:fedora:2") for p in (tmp_path / "store").iterdir()} == {
        "",
        ".hash",
        ".kernel",
        ".lock",
        ".metadata",
    }


def test_a_store_can_be_moved(document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "files" / "image.kernel").write_bytes(b"kernel")
    version = _repository(document, tmp_path).get_by_name("fedora").get_version()
    TemplateStore(str(tmp_path / "store")).ensure(version)
    os.rename(tmp_path / "store", tmp_path / "elsewhere")
    image = TemplateStore(str(tmp_path / "elsewhere")).ensure(version)
    assert image.metadata["kernel"] == str(tmp_path / "elsewhere" / "repo:fedora:2.kernel")


def test_an_image_in_the_store_is_not_fetched_again(document: dict[str, Any], tmp_path: Path) -> None:
    version = _repository(document, tmp_path).get_by_name("fedora").get_version()
    store = TemplateStore(str(tmp_path / "store"))
    first = store.ensure(version)
    os.unlink(tmp_path / "files" / "image")
    assert store.ensure(version) == first


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_wrong_checksum_keeps_an_image_out(document: dict[str, Any], tmp_path: Path, algorithm: str) -> None:
    expected = hashlib.new(algorithm, b"other").hexdigest()
    (tmp_path / "files" / "image.hash").write_text(expected)
    version = _repository(document, tmp_path).get_by_name("fedora").get_version()
    store = TemplateStore(str(tmp_path / "store"))
    with pytest.raises(TemplateError) as caught:
        store.ensure(version)
    assert expected in caught.value.details
    assert hashlib.new(algorithm, CONTENT).hexdigest() in caught.value.details
    assert version not in store
    assert [p.name for p in (tmp_path / "store").iterdir()] == ["repo:fedora:2.lock"]


def test_a_sha1_checksum_of_an_older_repository_is_accepted(document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "files" / "image.hash").write_text(hashlib.sha1(CONTENT).hexdigest())
    version = _repository(document, tmp_path).get_by_name("fedora").get_version()
    assert TemplateStore(str(tmp_path / "store")).ensure(version)


def test_what_an_interrupted_download_left_is_removed(document: dict[str, Any], tmp_path: Path) -> None:
    version = _repository(document, tmp_path).get_by_name("fedora").get_version()
    left = tmp_path / "store" / ".repo:fedora:2.part"
    left.mkdir(parents=True)
    (left / "image").write_bytes(b"half")
    image = TemplateStore(str(tmp_path / "store")).ensure(version)
    assert Path(image.path).read_bytes() == CONTENT
    assert not left.exists()


def test_a_missing_image_names_the_file(document: dict[str, Any], tmp_path: Path) -> None:
    os.unlink(tmp_path / "files" / "image")
    version = _repository(document, tmp_path).get_by_name("fedora").get_version()
    with pytest.raises(TemplateError, match=r"there is no image .*/files/image"):
        TemplateStore(str(tmp_path / "store")).ensure(version)


def test_a_store_that_cannot_be_made_is_a_host_error(document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    version = _repository(document, tmp_path).get_by_name("fedora").get_version()
    with pytest.raises(HostError, match="cannot write to the template store"):
        TemplateStore(str(tmp_path / "store")).ensure(version)


def test_a_changed_recipe_has_another_digest() -> None:
    import dataclasses

    recipe = RECIPES["mini"]
    assert recipe.digest() == RECIPES["mini"].digest()
    assert dataclasses.replace(recipe, size=recipe.size + 1).digest() != recipe.digest()


# --- package sources


def _etc(tmp_path: Path, **files: str) -> str:
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        (tmp_path / "sources.list.d" / name.replace("_", ".")).write_text(text)
    return str(tmp_path)


def test_only_sources_of_the_release_are_used(tmp_path: Path) -> None:
    debian = (
        "# comment\nTypes: deb deb-src\nURIs: http://m/debian\nSuites: bookworm bookworm-updates bookworm-backports\n"
    )
    debian += (
        "Components: main contrib\nSigned-By: /k.gpg\n\nTypes: deb\nURIs: http://m/sec\nSuites: bookworm-security\n"
    )
    debian += "Components: main\n\nTypes: deb\nEnabled: no\nURIs: http://off\nSuites: bookworm\nComponents: main\n"
    other = "deb [signed-by=/x.gpg] https://vendor/apt bookworm-tool main\ndeb http://nodes nodistro main\n"
    etc = _etc(tmp_path, debian_sources=debian, other_list=other)
    assert mirrors.sources("bookworm", etc=etc) == (
        "Types: deb\nURIs: http://m/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n"
        "\nTypes: deb\nURIs: http://m/sec\nSuites: bookworm-security\nComponents: main\n"
    )


def test_sources_in_the_older_form_are_read(tmp_path: Path) -> None:
    text = "deb [arch=amd64 signed-by=/k.gpg] http://m/debian bookworm main # x\n# deb http://no bookworm main\n"
    etc = _etc(tmp_path)
    (tmp_path / "sources.list").write_text(text + "deb-src http://m/debian bookworm main\n")
    assert mirrors.sources("bookworm", etc=etc) == (
        "Types: deb\nURIs: http://m/debian\nSuites: bookworm\nComponents: main\nSigned-By: /k.gpg\n"
    )


def test_a_host_without_sources_of_the_release_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="no source of Debian bookworm") as caught:
        mirrors.sources("bookworm", etc=_etc(tmp_path))
    assert "LAGO_DEBIAN_MIRROR" in caught.value.hint


WHOLE_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


@pytest.fixture
def whole_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if Debian's keyring were installed."""
    real = os.path.exists
    monkeypatch.setattr("os.path.exists", lambda path: path == WHOLE_KEYRING or real(path))


def test_a_host_of_another_release_has_this_one_at_the_same_mirrors(tmp_path: Path, whole_keyring: None) -> None:
    debian = (
        "Types: deb\nURIs: http://m/debian\nSuites: trixie trixie-updates trixie-backports trixie-proposed-updates\n"
        "Components: main\nSigned-By: /usr/share/keyrings/debian-archive-trixie-stable.gpg\n\n"
        "Types: deb\nURIs: http://m/sec\nSuites: trixie-security\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.pgp\n"
    )
    assert mirrors.sources("bookworm", etc=_etc(tmp_path, debian_sources=debian)) == (
        f"Types: deb\nURIs: http://m/debian\nSuites: bookworm bookworm-updates\nComponents: main\n"
        f"Signed-By: {WHOLE_KEYRING}\n"
        f"\nTypes: deb\nURIs: http://m/sec\nSuites: bookworm-security\nComponents: main\nSigned-By: {WHOLE_KEYRING}\n"
    )


def test_the_release_itself_is_preferred_to_a_place_that_has_another(tmp_path: Path) -> None:
    key = "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg"
    lines = f"deb [{key}] http://new/debian trixie main\ndeb [{key}] http://old/debian bookworm main\n"
    found = mirrors.sources("bookworm", etc=_etc(tmp_path, both_list=lines))
    assert "http://old/debian" in found
    assert "http://new/debian" not in found


def _lists(tmp_path: Path, **origins: str) -> str:
    """What apt fetched of sources: the beginning of their Release files, and lists without a package."""
    lists = tmp_path / "lists"
    lists.mkdir()
    for name, origin in origins.items():
        start = f"{name.replace('__', '_dists_')}_"
        text = f"Origin: {origin}\nSuite: stable\nCodename: trixie\nArchitectures: amd64\nComponents: main\n"
        (lists / f"{start}InRelease").write_text(text)
        (lists / f"{start}main_binary-amd64_Packages").touch()
    return str(lists)


@pytest.mark.programs
@pytest.mark.parametrize("form", ["list", "sources"])
def test_what_a_source_says_of_itself_tells_debian_from_other_vendors(
    tmp_path: Path, whole_keyring: None, form: str
) -> None:
    # Neither has a key of its own: that is in trusted.gpg.d. One's suite is called as Debian's is.
    rows = [("deb.example/debian", "trixie"), ("vendor.example/apt", "stable"), ("unknown.example/apt", "trixie")]
    if form == "list":
        text = "".join(f"deb http://{place}/ {suite} main\n" for place, suite in rows)
    else:
        text = "\n".join(
            f"Types: deb\nURIs: http://{place}\nSuites: {suite}\nComponents: main\n" for place, suite in rows
        )
    etc = _etc(tmp_path, **{f"all_{form}": text})
    lists = _lists(tmp_path, **{"deb.example_debian__trixie": "Debian", "vendor.example_apt__stable": "Vendor"})
    slash = "/" if form == "list" else ""
    assert mirrors.sources("bookworm", etc=etc, lists=lists) == (
        f"Types: deb\nURIs: http://deb.example/debian{slash}\nSuites: bookworm\nComponents: main\n"
        f"Signed-By: {WHOLE_KEYRING}\n"
    )


@pytest.mark.programs
def test_where_apt_has_no_lists_it_is_told_to_fetch_them(tmp_path: Path) -> None:
    etc = _etc(tmp_path, all_list="deb http://deb.example/debian trixie main\n")
    with pytest.raises(HostError, match="no source of Debian bookworm") as caught:
        mirrors.sources("bookworm", etc=etc, lists=_lists(tmp_path))
    assert caught.value.hint.startswith("apt-get update, ")


@pytest.mark.programs
def test_a_mirror_that_signs_by_itself_keeps_its_key(tmp_path: Path, whole_keyring: None) -> None:
    etc = _etc(tmp_path, all_list="deb [signed-by=/etc/apt/ours.gpg] http://deb.example/debian trixie main\n")
    lists = _lists(tmp_path, **{"deb.example_debian__trixie": "Debian"})
    assert "Signed-By: /etc/apt/ours.gpg\n" in mirrors.sources("bookworm", etc=etc, lists=lists)


@pytest.mark.parametrize("own", ["bookworm", "trixie"])
def test_a_mirror_that_is_given_comes_in_place_of_the_hosts_but_for_security_updates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str
) -> None:
    monkeypatch.setenv("LAGO_DEBIAN_MIRROR", "http://mirror/debian")
    key = "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg"
    lines = f"deb [{key}] http://m/debian {own} main\ndeb [{key}] http://m/sec {own}-security main\n"
    etc = _etc(tmp_path, debian_list=lines)
    found = mirrors.sources("bookworm", etc=etc)
    assert "URIs: http://mirror/debian\nSuites: bookworm bookworm-updates\n" in found
    assert "URIs: http://m/sec\nSuites: bookworm-security\n" in found
    assert "http://m/debian" not in found
    assert "security" not in mirrors.sources("bookworm", security=False, etc=etc)


def test_a_mirror_does_for_a_host_that_has_no_source_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGO_DEBIAN_MIRROR", "http://mirror/debian")
    found = mirrors.sources("bookworm", etc=_etc(tmp_path))
    assert "URIs: http://mirror/debian\nSuites: bookworm bookworm-updates\n" in found


# --- parts of images


def _tar(*members: tuple[str, bytes, int, bytes, str]) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind, mode, data, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.size, info.linkname = kind, mode, len(data), target
            info.uid, info.gid = 7, 8
            archive.addfile(info, io.BytesIO(data))
    out.seek(0)
    return out


def test_a_tree_puts_programs_under_usr(tmp_path: Path) -> None:
    tree = Tree(str(tmp_path / "spool"))
    tree.add_tar(
        _tar(
            ("./bin/", tarfile.DIRTYPE, 0o755, b"", ""),
            ("./bin/sh", tarfile.REGTYPE, 0o4755, b"program", ""),
            ("./bin/again", tarfile.LNKTYPE, 0o4755, b"", "./bin/sh"),
            ("./lib/x.so", tarfile.SYMTYPE, 0o777, b"", "y.so"),
            ("./dev/null", tarfile.CHRTYPE, 0o666, b"", ""),
            ("./usr/share/doc", tarfile.REGTYPE, 0o644, b"", ""),
        ),
        lambda path: not path.startswith("usr/share"),
    )
    entries = dict(tree)
    assert entries["bin"].target == "usr/bin"
    assert tree.read("usr/bin/sh") == tree.read("usr/bin/again") == b"program"
    assert (entries["usr/bin/sh"].mode, entries["usr/bin/sh"].uid) == (stat.S_IFREG | 0o4755, 7)
    assert entries["usr/lib/x.so"].target == "y.so"
    assert "dev/null" not in tree
    assert "usr/share/doc" not in tree


def test_a_tree_lists_directories_before_what_is_in_them(tmp_path: Path) -> None:
    tree = Tree(str(tmp_path / "spool"))
    tree.file("b/c/d", "x")
    tree.file("b-c", "y")
    tree.symlink("a", "b")
    assert [path for path, _ in tree if not path.startswith(("usr", "lib", "bin", "sbin"))] == [
        "a",
        "b",
        "b/c",
        "b/c/d",
        "b-c",
    ]
    tree.remove("b", "nothing")
    assert "b/c/d" not in tree
    assert "b-c" in tree


def test_the_packed_kernel_is_found_by_its_header() -> None:
    payload = b"\x02\x21\x4c\x18 packed kernel"
    image = bytearray(4 * 512)
    image[0x1F1] = 3
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", image, 0x248, 16, len(payload) + 4)
    image += b"." * 16 + payload + b"size" + b"rest"
    assert kernel.boot_payload(bytes(image)) == payload
    image[0x202] = 0
    with pytest.raises(TemplateError, match="not a bzImage"):
        kernel.boot_payload(bytes(image))


def test_a_cpio_archive_is_as_the_kernel_expects_it() -> None:
    archive = kernel.cpio([("lib", stat.S_IFDIR | 0o755, b""), ("lib/x", stat.S_IFREG | 0o644, b"hello")])
    assert archive.startswith(b"070701" + b"00000001" + b"000041ED")
    assert len(archive) % 4 == 0
    assert archive.index(b"lib/x\0") % 4 == 2
    assert b"hello" + b"\0" * 3 + b"070701" in archive
    assert b"TRAILER!!!\0" in archive
