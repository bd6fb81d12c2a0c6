"""Whether copies of repositories of packages are complete and sound.

Metadata is in the form of createrepo: `repodata/repomd.xml` names the list of packages, with its checksum. Lists may be
compressed by gzip, bzip2, xz or zstd.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin
from xml.etree import ElementTree

from lago.host.fetch import fetch
from lago.utils import in_parallel

from .repository import config as repository_config
from .repository.rpms import ARCHITECTURES, Evr, RepoError, createrepo, newest

_REPO: Final = "{http://linux.duke.edu/metadata/repo}"
_SHOWN: Final = 20
"""Faults that a message names."""


def fetch_xml(url: str) -> ElementTree.Element:
    """Fetch an XML document, which may be compressed, and return its root.

    Raises:
        FetchError: it can't be had.
        RepoError: it is no XML.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "document")
        fetch(url, path)
        return _root(url, _plain(url, path))


def _plain(url: str, path: str) -> str:
    library, plain = createrepo(), f"{path}.plain"
    try:
        library.decompress_file(path, plain, library.AUTO_DETECT_COMPRESSION)
    except (OSError, library.CreaterepoCError) as error:
        raise _damaged(url, error) from None
    return plain


def _root(url: str, path: str) -> ElementTree.Element:
    try:
        # expat limits how much entities expand to.
        return ElementTree.parse(path).getroot()  # noqa: S314
    except ElementTree.ParseError as error:
        raise _damaged(url, error) from None


def _damaged(url: str, error: Exception) -> RepoError:
    return RepoError(f"{url} is damaged: {error}", hint="is it the address of a repository? createrepo_c makes it anew")


def get_packages(
    url: str, whitelist: Collection[str] | None = None, blacklist: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """Fetch the list of what a repository has, source packages and all versions and architectures too.

    Args:
        url: its address, a directory with `repodata`; or a path.
        whitelist: patterns such as `vdsm*` of packages that are wanted; all, without any. They are compared with the
            name, name.arch and name-version-release.arch.
        blacklist: patterns of packages that are not.

    Returns:
        For each package `name`, `arch`, `location` (relative to the repository), `checksum` with `type` and `hash`,
        `version` with `epoch`, `ver` and `rel`, and `build_time` in seconds since 1970.

    Raises:
        FetchError: it can't be had.
        RepoError: its metadata is damaged.
    """
    library = createrepo()
    base = (url if "://" in url else Path(url).absolute().as_uri()).rstrip("/") + "/"
    found: list[dict[str, Any]] = []

    def add(package: Any) -> None:
        if _wanted(package, whitelist or ("*",), blacklist or ()):
            found.append(_describe(package))

    with tempfile.TemporaryDirectory() as directory:
        address, path = _primary(base, directory)
        try:
            library.xml_parse_primary(path, pkgcb=add, do_files=False)
        except (OSError, library.CreaterepoCError) as error:
            raise _damaged(address, error) from None
    return found


def _primary(base: str, directory: str) -> tuple[str, str]:
    """Address of the list of packages, and its copy in `directory`, as the metadata says it should be."""
    index = urljoin(base, "repodata/repomd.xml")
    entry = fetch_xml(index).find(f"{_REPO}data[@type='primary']")
    location = None if entry is None else entry.find(f"{_REPO}location")
    checksum = None if entry is None else entry.find(f"{_REPO}checksum")
    if location is None or checksum is None:
        raise RepoError(f"{index} names no list of packages", hint="createrepo_c makes it anew")
    address = urljoin(base, location.get("href", ""))
    # createrepo_c's parser knows compressions by their names.
    path = os.path.join(directory, os.path.basename(address))
    fetch(address, path)
    if _digest(path, checksum.get("type", "")) != (checksum.text or "").strip():
        raise RepoError(
            f"{address} is not what {index} says: its {checksum.get('type')} is another",
            hint="it may just be changing; try again, or have createrepo_c make it anew",
        )
    return address, path


def _describe(package: Any) -> dict[str, Any]:
    return {
        "name": package.name,
        "arch": package.arch,
        "location": package.location_href,
        "checksum": {"type": package.checksum_type, "hash": package.pkgId},
        "version": {"epoch": package.epoch or "0", "ver": package.version, "rel": package.release},
        "build_time": package.time_build,
    }


def _wanted(package: Any, whitelist: Iterable[str], blacklist: Iterable[str]) -> bool:
    short = f"{package.name}.{package.arch}"
    names = (package.name, short, f"{package.name}-{package.version}-{package.release}.{package.arch}")

    def matches(patterns: Iterable[str]) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)

    return matches(whitelist) and not matches(blacklist)


def discard_older_rpms(packages: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of packages as `get_packages` returns them the newest of each name and architecture."""
    return newest(packages, lambda one: (one["name"], one["arch"]), _evr)


def _evr(package: Mapping[str, Any]) -> Evr:
    version = package["version"]
    return Evr(version["epoch"], version["ver"], version["rel"])


def verify_repo(
    url: str, path: str, whitelist: Collection[str] | None = None, blacklist: Collection[str] | None = None
) -> None:
    """See that the newest packages of a repository that our machines can install are in a directory, and sound.

    Args:
        url: as for `get_packages`, which says what the patterns are.
        path: the directory; files are looked for by name, in directories below it too.

    Raises:
        FetchError: the repository can't be had.
        RepoError: names the packages that are missing or damaged.
    """
    wanted = [one for one in get_packages(url, whitelist, blacklist) if one["arch"] in ARCHITECTURES]
    files = {name: os.path.join(place, name) for place, _, names in os.walk(path) for name in names}
    checked = in_parallel(lambda one: _fault(one, files), discard_older_rpms(wanted), what=f"packages in {path}")
    faults = [fault for fault in checked if fault]
    if faults:
        more = [f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
        raise RepoError(
            faults[0] if len(faults) == 1 else f"{len(faults)} packages of {url} are missing or damaged in {path}",
            details="" if len(faults) == 1 else "\n".join([*faults[:_SHOWN], *more]),
            hint=f"fetch them again: lago ovirt reposetup, or dnf reposync from {url}",
        )


def _fault(package: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """Check a package, and return what is wrong with it; empty if nothing is."""
    file_name = os.path.basename(package["location"])
    what = f"{package['name']} {_evr(package)}"
    if file_name not in files:
        return f"{what}: there is no file {file_name}"
    checksum = package["checksum"]
    if _digest(files[file_name], checksum["type"]) != checksum["hash"]:
        return f"{what}: {files[file_name]} has another {checksum['type']} than the repository says"
    return ""


def _digest(path: str, kind: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, {"sha": "sha1"}.get(kind, kind)).hexdigest()
    except ValueError:
        raise RepoError(f"{path}: checksums of type {kind!r} are not known", hint="is it a repository?") from None


def verify_reposync(config: str, sync_dir: str, repo_whitelist: Collection[str] | None = None) -> None:
    """See that the copies of repositories in `sync_dir`, each in a directory of its name, are complete and sound.

    Args:
        config: configuration file of dnf. All repositories that it enables count, with their `includepkgs` and
            `exclude`.
        repo_whitelist: names of those that count, whether they are enabled or not.

    Raises:
        ConfigError: the file can't be read, or a repository has no address.
        FetchError: a repository can't be had.
        RepoError: names what is missing or damaged.
    """
    known = repository_config.read(config)
    if repo_whitelist is None:
        chosen = [repo for repo in known.values() if repo.enabled]
    else:
        chosen = [repo for name, repo in known.items() if name in repo_whitelist]

    def verify(repo: repository_config.Repository) -> None:
        verify_repo(repo.url(), os.path.join(sync_dir, repo.name), repo.includes, repo.excludes)

    in_parallel(verify, chosen, what="copies of repositories")
