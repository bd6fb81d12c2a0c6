"""What package managers and people need beside packages: indexes, checksums, signatures."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from lago.errors import LagoError
from lago.host.files import write_atomically
from lago.host.programs import run

SUMS: Final = "SHA256SUMS"
"""The file with checksums, in the form of sha256sum."""


def index(root: Path, key: str | None = None) -> None:
    """Make or renew the indexes of all repositories `rpm/*` and `deb/*` in a directory."""
    for place in _directories(root / "rpm"):
        run(["createrepo_c", "--quiet", "--update", "--error-exit-val", "--general-compress-type=gz", str(place)])
        if key:
            _sign(place / "repodata" / "repomd.xml", key)
    for place in _directories(root / "deb"):
        packages = run(["dpkg-scanpackages", "--multiversion", "."], cwd=str(place)).out
        write_atomically(str(place / "Packages"), packages)
        write_atomically(str(place / "Packages.gz"), gzip.compress(packages, mtime=0))
        # An older one must not be summed up in the new one.
        for name in ("Release", "InRelease", "Release.gpg"):
            (place / name).unlink(missing_ok=True)
        write_atomically(str(place / "Release"), run(["apt-ftparchive", "release", "."], cwd=str(place)).out)
        if key:
            write_atomically(str(place / "InRelease"), _gpg(key, "--clearsign", place / "Release"))


def _directories(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir()) if path.is_dir() else []


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sums(root: Path, sums: Mapping[str, str], key: str | None = None) -> None:
    """Write the checksums of files by their names in `root`."""
    lines = (f"{sums[name]}  {name}\n" for name in sorted(sums))
    write_atomically(str(root / SUMS), "".join(lines))
    if key:
        _sign(root / SUMS, key)


def read_sums(root: Path) -> dict[str, str]:
    """Checksums by name; none if there is no such file. Raises LagoError for one that is damaged."""
    try:
        lines = (root / SUMS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    pairs = [line.split("  ", 1) for line in lines]
    if any(len(pair) != 2 or len(pair[0]) != 64 for pair in pairs):
        raise LagoError(f"{root / SUMS} is damaged", hint="restore it from a copy")
    return {name: value for value, name in pairs}


def verify(root: Path, sums: Mapping[str, str], names: Iterable[str]) -> None:
    """Raise LagoError unless the files have these checksums."""
    bad = [n for n in names if not (root / n).is_file() or checksum(root / n) != sums.get(n)]
    if bad:
        details = "\n".join(bad)
        raise LagoError(f"files in {root} are not as they were built", details=details, hint="build and publish again")


def check_key(key: str) -> None:
    """Raise LagoError unless we can sign with a key."""
    argv = ["gpg", "--batch", "--list-secret-keys", "--", key]
    if run(argv, check=False):
        raise LagoError(f"there is no secret key {key}", hint="gpg --list-secret-keys lists those there are")


def _sign(path: Path, key: str) -> None:
    write_atomically(f"{path}.asc", _gpg(key, "--detach-sign", path))


def _gpg(key: str, how: str, path: Path) -> bytes:
    return run(["gpg", "--batch", "--armor", "--local-user", key, "--output", "-", how, str(path)]).out
