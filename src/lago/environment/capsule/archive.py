"""The file that a capsule is exported to: a tar archive, packed by zstandard, that is written and read as a stream.

Its first member, `archive.json`, says what is in it; then come the files, called `0`, `1` and so on in the order in
which that lists them; and at last `checksums.json`, the SHA-256 of each. So whoever reads knows what must come before
it comes, no name of a member is ever a path, and nothing counts before all is found whole.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, Final

from ...errors import LagoError
from ...host import shape
from ...host.files import json_text, replacing

HEAD: Final = "archive.json"
TAIL: Final = "checksums.json"

Moved = Callable[[int], object]
"""Told of bytes that were moved, as they are."""

_BLOCK: Final = 1 << 20
_HOLE: Final = 1 << 16
_TAR: Final = tarfile.BLOCKSIZE
_WINDOW: Final = 1 << 27
"""Bytes of memory that a packed stream may ask for, what `zstd --long` does."""


@contextlib.contextmanager
def appearing(path: str) -> Iterator[IO[bytes]]:
    """Context manager: a file to write that has its name when the block ends well, and before is nowhere, if possible.

    Only we may read it: it holds keys and memory.

    Raises:
        FileExistsError: there is something of that name.
        OSError: it can't be written.
    """
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    directory = os.path.dirname(os.path.abspath(path))
    try:
        nameless = os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR):
            raise OSError(error.errno, error.strerror, directory) from None
        with replacing(path) as temporary, open(os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        return
    with open(nameless, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
        ours = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Python follows the link there only if it is told of a directory.
            os.link(str(file.fileno()), path, src_dir_fd=ours, follow_symlinks=True)
        finally:
            os.close(ours)


def write(file: IO[bytes], head: Mapping[str, Any], files: Mapping[str, str], moved: Moved) -> None:
    """Write an archive.

    Args:
        head: what it says of itself; what files there are is added.
        files: paths on this host by their names in it.
        moved: told of bytes that were read.

    Raises:
        OSError: a file can't be read, or the archive not be written.
    """
    import zstandard

    listed = {name: os.stat(path).st_size for name, path in files.items()}
    sums: dict[str, str] = {}
    with (
        zstandard.ZstdCompressor(level=3, threads=-1).stream_writer(file, closefd=False) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT, bufsize=_BLOCK) as tar,
    ):
        _add(tar, HEAD, json_text({**head, "files": [[name, size] for name, size in listed.items()]}).encode())
        for number, (name, path) in enumerate(files.items()):
            with open(path, "rb") as source:
                counted = _Counted(source, moved)
                info = tarfile.TarInfo(str(number))
                info.size = listed[name]
                tar.addfile(info, counted)
            sums[name] = counted.digest.hexdigest()
        _add(tar, TAIL, json_text(sums).encode())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


class _Counted(io.RawIOBase):
    """A file whose bytes are counted and hashed as they are read."""

    def __init__(self, file: IO[bytes], moved: Moved) -> None:
        self._file = file
        self._moved = moved
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        self._moved(len(data))
        return data


class Reader:
    """An archive that somebody else may have written.

    Args:
        file: it.
        name: what messages call it.

    Raises:
        LagoError: it is none, it is cut off or damaged, or what is in it is not what it says.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        import zstandard

        self._name = name
        self._stream: Any = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(file)
        try:
            found = shape.parse(self._small(HEAD).decode())
        except (ValueError, UnicodeDecodeError) as error:
            raise self.wrong(f"{HEAD}: {error}") from None
        if not isinstance(found, dict):
            raise self.wrong(f"{HEAD} is no object")
        self.head: dict[str, Any] = found
        self.files: dict[str, int] = self._listed(found.get("files"))

    def wrong(self, why: str) -> LagoError:
        """Return the error that something is wrong with it."""
        return LagoError(f"{self._name} is no sound capsule", details=why, hint="export it again, or get it again")

    def _listed(self, raw: Any) -> dict[str, int]:
        try:
            pairs = shape.listing(shape.listing(lambda one: one))(raw)
            found = {shape.text()(name): shape.whole(size) for name, size in pairs}
        except ValueError as error:
            raise self.wrong(f"files: {error}") from None
        if len(found) != len(pairs):
            raise self.wrong("files: a name is there twice")
        return found

    def unpack(self, place: Callable[[str], str], most: int, moved: Moved) -> None:
        """Write all files, with holes where there is nothing but zeros, and check them.

        Args:
            place: the path for each by its name; nothing is there, and its directory is.
            most: bytes that all may take of the disk.
            moved: told of bytes that came.

        Raises:
            LagoError: as above, or they take more.
            OSError: they can't be written.
        """
        sums: dict[str, str] = {}
        for number, (name, size) in enumerate(self.files.items()):
            if self._next() != (str(number), size):
                raise self.wrong(f"{name} is not where it should be")
            with open(os.open(place(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                sums[name], took = self._copy(file, size, most, moved)
                most -= took
        try:
            expected = shape.mapping(shape.text(), shape.text("[0-9a-f]{64}"))(shape.parse(self._small(TAIL).decode()))
        except (ValueError, UnicodeDecodeError) as error:
            raise self.wrong(f"{TAIL}: {error}") from None
        if damaged := [name for name in sums if sums[name] != expected.get(name)]:
            raise self.wrong(f"the checksum of {', '.join(damaged[:3])} is another")
        if self._bytes(_TAR) != bytes(_TAR):
            raise self.wrong("something comes behind its end")

    def _copy(self, file: IO[bytes], size: int, most: int, moved: Moved) -> tuple[str, int]:
        """Write one file; its SHA-256, and the bytes that it takes."""
        digest, took, left = hashlib.sha256(), 0, size
        while left:
            data = self._bytes(min(left, _BLOCK))
            left -= len(data)
            digest.update(data)
            moved(len(data))
            for begin in range(0, len(data), _HOLE):
                piece = data[begin : begin + _HOLE]
                if piece.count(0) == len(piece):
                    file.seek(len(piece), os.SEEK_CUR)
                    continue
                took += len(piece)
                if took > most:
                    raise LagoError(
                        f"{self._name} takes more of the disk than capsules may",
                        hint="if you trust where it comes from, allow more by the setting capsule_limit (MiB)",
                    )
                file.write(piece)
        file.truncate(size)
        self._bytes(-size % _TAR)
        return digest.hexdigest(), took

    def _small(self, name: str) -> bytes:
        """Content of a member that is a document."""
        found, size = self._next()
        if found != name or size > shape.MOST:
            raise self.wrong(f"{name} is not where it should be, or too large")
        data = self._bytes(size)
        self._bytes(-size % _TAR)
        return data

    def _next(self) -> tuple[str, int]:
        """Name and size of the next member, which is a plain file."""
        try:
            info = tarfile.TarInfo.frombuf(self._bytes(_TAR), "ascii", "strict")
        except (tarfile.TarError, UnicodeDecodeError) as error:
            raise self.wrong(f"it is no tar archive, or cut off: {error}") from None
        if info.type != tarfile.REGTYPE or info.size < 0:
            raise self.wrong("there is something in it that is no plain file")
        return info.name, info.size

    def _bytes(self, size: int) -> bytes:
        """Just so many bytes."""
        import zstandard

        found = bytearray()
        try:
            while len(found) < size:
                data = self._stream.read(size - len(found))
                if not data:
                    raise self.wrong("it is cut off")
                found += data
        except (zstandard.ZstdError, MemoryError) as error:
            raise self.wrong(f"it is not packed by zstandard, or damaged: {error}") from None
        return bytes(found)
