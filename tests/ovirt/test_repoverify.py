"""Copies of repositories, complete and sound or not."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from lago.errors import ConfigError, Errors, FetchError
from ovirtlago import repoverify
from ovirtlago.repository.rpms import RepoError

from ..unit.web import serving
from .packages import FOREIGN, MACHINE, Maker, alter


@pytest.fixture
def repository(make: Maker, tmp_path: Path) -> Path:
    """A repository with two versions, an epoch, a foreign architecture and a source package."""
    packages = [make.rpm("a", "1.9"), make.rpm("a", "1.10"), make.rpm("a", "9", arch=FOREIGN)]
    packages += [make.rpm("a", "9", arch="src"), make.rpm("b", "2"), make.rpm("b", "1", epoch="1")]
    return make.repository(tmp_path / "repository", *packages)


def described(packages: Any) -> list[str]:
    return sorted(f"{p['name']}.{p['arch']} {':'.join(p['version'].values())}" for p in packages)


ALL = sorted(
    [
        *(f"a.{MACHINE} 0:1.9:1", f"a.{MACHINE} 0:1.10:1", f"a.{FOREIGN} 0:9:1", "a.src 0:9:1"),
        *(f"b.{MACHINE} 0:2:1", f"b.{MACHINE} 1:1:1"),
    ]
)


@pytest.mark.parametrize("compression", ["gz", "xz", "zstd", "bz2"])
def test_packages_are_read_from_lists_of_any_compression(make: Maker, tmp_path: Path, compression: str) -> None:
    package = make.rpm("b", "1", epoch="1")
    make.repository(tmp_path, package, compression=compression)
    [found] = repoverify.get_packages(tmp_path.as_uri())
    assert list(tmp_path.glob(f"repodata/*primary.xml.{ {'zstd': 'zst'}.get(compression, compression) }"))
    assert found.pop("build_time") > 1_600_000_000
    checksum = found.pop("checksum")
    assert (checksum["type"], repoverify._digest(str(package), "sha256")) == ("sha256", checksum["hash"])
    version = {"epoch": "1", "ver": "1", "rel": "1"}
    assert found == {"name": "b", "arch": MACHINE, "location": package.name, "version": version}


def test_a_whitelist_keeps_and_a_blacklist_drops_d19(repository: Path) -> None:
    def found(*lists: list[str] | None) -> set[str]:
        return {f"{p['name']}.{p['arch']}" for p in repoverify.get_packages(str(repository), *lists)}

    everything = {f"a.{MACHINE}", f"a.{FOREIGN}", "a.src", f"b.{MACHINE}"}
    assert found() == found([], []) == everything
    assert found(["b*"]) == found(None, ["a"]) == {f"b.{MACHINE}"}
    assert found(["a"], ["a.src", f"a-9-1.{FOREIGN}"]) == {f"a.{MACHINE}"}
    assert found(["nothing"]) == set()


def test_older_packages_are_discarded_by_name_and_architecture(repository: Path) -> None:
    packages = repoverify.get_packages(str(repository))
    assert described(packages) == ALL
    kept = [f"a.{FOREIGN} 0:9:1", f"a.{MACHINE} 0:1.10:1", "a.src 0:9:1", f"b.{MACHINE} 1:1:1"]
    assert described(repoverify.discard_older_rpms(packages)) == sorted(kept)


def test_the_newest_packages_for_our_machines_are_enough(make: Maker, repository: Path, tmp_path: Path) -> None:
    copy = make.into(tmp_path / "copy" / "deeper", make.rpm("a", "1.10"), make.rpm("b", "1", epoch="1"))
    with serving(repository) as web:
        repoverify.verify_repo(web.url, str(copy.parent))


def test_a_file_that_is_missing_is_named(make: Maker, repository: Path, tmp_path: Path) -> None:
    copy = make.into(tmp_path / "copy", make.rpm("a", "1.9"), make.rpm("b", "1", epoch="1"))
    with pytest.raises(RepoError) as caught:
        repoverify.verify_repo(str(repository), str(copy))
    assert caught.value.what == f"a 1.10-1: there is no file a-1.10-1.{MACHINE}.rpm"
    assert "reposetup" in caught.value.hint
    repoverify.verify_repo(str(repository), str(copy), whitelist=["b"])
    repoverify.verify_repo(str(repository), str(copy), blacklist=["a"])


def test_all_that_is_missing_or_damaged_is_named(make: Maker, repository: Path, tmp_path: Path) -> None:
    copy = make.into(tmp_path / "copy", make.rpm("a", "1.10"))
    [damaged] = copy.iterdir()
    alter(damaged)
    with pytest.raises(RepoError) as caught:
        repoverify.verify_repo(str(repository), str(copy))
    assert caught.value.details.splitlines() == [
        f"a 1.10-1: {damaged} has another sha256 than the repository says",
        f"b 1:1-1: there is no file b-1-1.{MACHINE}.rpm",
    ]


def test_damaged_metadata_is_not_believed(repository: Path) -> None:
    [primary] = repository.glob("repodata/*primary.xml.gz")
    index = repository / "repodata" / "repomd.xml"
    primary.write_bytes(gzip.compress(gzip.decompress(primary.read_bytes()).replace(b"1.10", b"1.11")))
    with pytest.raises(RepoError, match=r"primary\.xml\.gz is not what .*repomd\.xml says"):
        repoverify.get_packages(str(repository))
    primary.unlink()
    with pytest.raises(FetchError, match=r"primary\.xml\.gz"):
        repoverify.get_packages(str(repository))
    index.write_text(index.read_text().replace('type="primary"', 'type="other"'))
    with pytest.raises(RepoError, match="names no list of packages"):
        repoverify.get_packages(str(repository))
    index.write_text("<html><body>Log in, please")
    with pytest.raises(RepoError, match=r"repomd\.xml is damaged"):
        repoverify.get_packages(str(repository))


def test_xml_may_be_compressed(tmp_path: Path) -> None:
    tmp_path.joinpath("plain.xml").write_text("<a><b/></a>")
    tmp_path.joinpath("packed.xml.gz").write_bytes(gzip.compress(b"<a><b/></a>"))
    with serving(tmp_path) as web:
        for name in ("plain.xml", "packed.xml.gz"):
            assert [child.tag for child in repoverify.fetch_xml(f"{web.url}/{name}")] == ["b"]
        with pytest.raises(FetchError):
            repoverify.fetch_xml(f"{web.url}/nothing.xml")


def test_all_repositories_of_a_configuration_are_verified(make: Maker, repository: Path, tmp_path: Path) -> None:
    def section(name: str, more: str = "") -> str:
        return f"[{name}]\nbaseurl={repository.as_uri()}\n{more}\n"

    config = tmp_path / "dnf.conf"
    config.write_text(
        "[main]\ngpgcheck=0\n"
        + section("includes", "includepkgs=b*, nothing")
        + section("excludes", "exclude=a z*")
        + section("off", "enabled=0")
    )
    for name in ("includes", "excludes"):
        make.into(tmp_path / "copies" / name, make.rpm("b", "1", epoch="1"))
    repoverify.verify_reposync(str(config), str(tmp_path / "copies"))
    with pytest.raises(RepoError, match=r"2 packages of .* are missing or damaged in .*/off"):
        repoverify.verify_reposync(str(config), str(tmp_path / "copies"), ["off"])
    for copy in (tmp_path / "copies").rglob("*.rpm"):
        alter(copy)
    with pytest.raises(Errors) as several:
        repoverify.verify_reposync(str(config), str(tmp_path / "copies"))
    assert all(f"/copies/{name}/" in several.value.details for name in ("includes", "excludes"))


def test_a_configuration_without_sense_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "dnf.conf"
    with pytest.raises(ConfigError, match="No such file"):
        repoverify.verify_reposync(str(config), str(tmp_path))
    config.write_text("nonsense")
    with pytest.raises(ConfigError, match="no configuration of dnf"):
        repoverify.verify_reposync(str(config), str(tmp_path))
    config.write_text("[a]\nname=a\n")
    with pytest.raises(ConfigError, match="the repository a has no address"):
        repoverify.verify_reposync(str(config), str(tmp_path))


def test_the_first_mirror_of_a_list_is_asked(make: Maker, repository: Path, tmp_path: Path) -> None:
    copy = make.into(tmp_path / "copies" / "a", make.rpm("a", "1.10"), make.rpm("b", "1", epoch="1"))
    mirrors, config = tmp_path / "mirrors", tmp_path / "dnf.conf"
    mirrors.write_text(f"# mirrors\n{repository.as_uri()}\nhttp://nowhere.invalid/\n")
    config.write_text(f"[a]\nmirrorlist={mirrors.as_uri()}\n")
    repoverify.verify_reposync(str(config), str(copy.parent))
