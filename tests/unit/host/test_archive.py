"""Tar archives of strangers: real ones, and such as take more memory than there is."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Final

import pytest

from lago.host.archive import files

GIB: Final = 1 << 30
LONG: Final = "d/" * 60 + "n" * 90


def header(name: str, kind: bytes, size: int, more: dict[str, str] | None = None) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.pax_headers = kind, size, more or {}
    return info.tobuf(tarfile.PAX_FORMAT if more else tarfile.GNU_FORMAT)


def hole(path: Path, *parts: bytes, after: int) -> Path:
    """A file that is a hole but for its beginning."""
    with path.open("wb") as file:
        file.write(b"".join(parts))
        file.truncate(file.tell() + after)
    return path


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["plain", "n" * 100, LONG])
def test_files_of_archives_are_found(tmp_path: Path, format: int, name: str) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=format) as tar:
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE):
            other = tarfile.TarInfo("other")
            other.type, other.linkname = kind, "x" * 90
            tar.addfile(other)
        for member, data in ((name, b"words" * 300), ("last", b"")):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with path.open("rb") as file:
        found = [(one.name, one.size, one.place) for one in files(file, 20)]
        assert [one[:2] for one in found] == [(name, 1500), ("last", 0)]
        file.seek(found[0][2])
        assert file.read(1500) == b"words" * 300


@pytest.mark.programs
def test_archives_of_gnu_tar_are_read(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("words")
    path = tmp_path / "a.tar"
    subprocess.run(["tar", "-cf", path, "-C", tmp_path, "words"], check=True)
    with path.open("rb") as file:
        assert [(one.name, one.size) for one in files(file, 5)] == [("words", 5)]


HOSTILE: Final = {
    "a pax header of gigabytes": ([header("x", b"x", 4 * GIB)], "has 4294967296 bytes"),
    "a name of gigabytes": ([header("x", b"L", 4 * GIB)], "has 4294967296 bytes"),
    "a map of holes": ([header("x", b"S", 0)], "files with holes"),
    "a file beyond the end": ([header("x", b"0", 8 * GIB)], "cut off"),
    "many members": ([header("x", b"0", 0)] * 1001, "more than 1000 members"),
    "names without a member": ([header("x", b"K", 0)] * 1001, "more than 1000 members"),
    "nothing": ([], "empty"),
    "no archive": ([b"<html>" * 100], "damaged"),
    "records without an end": ([header("x", b"x", 512), b"9" * 512], "damaged"),
}


@pytest.mark.programs
@pytest.mark.parametrize("kind", HOSTILE)
def test_what_an_archive_says_takes_no_memory(tmp_path: Path, kind: str) -> None:
    parts, why = HOSTILE[kind]
    path = hole(tmp_path / "a.tar", *parts, after=4 * GIB)
    words = (
        "import resource, sys\nfrom lago.host.archive import files\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))\n"
        "try:\n    list(files(open(sys.argv[1], 'rb'), 1000))\nexcept ValueError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", words, path], capture_output=True, text=True, check=True, timeout=60)
    assert why in done.stdout


def test_a_file_with_holes_of_pax_is_passed_over(tmp_path: Path) -> None:
    more = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "x"}
    path = hole(tmp_path / "a.tar", header("sparse", b"0", 0, more), header("plain", b"0", 0), after=1024)
    with path.open("rb") as file:
        assert [one.name for one in files(file, 10)] == ["plain"]
