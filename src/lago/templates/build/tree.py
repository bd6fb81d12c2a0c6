"""A file tree that exists only in memory and in spool files, so that no privilege is needed to give it its owners.

Paths are relative, without a leading `./`; `bin`, `sbin`, `lib` and `lib64` are under `usr`, as in Debian since 12.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

_UNDER_USR = ("bin", "sbin", "lib", "lib64")


@dataclass(slots=True)
class Entry:
    """A directory, file or link; `mode` has the type, `content` is a spool file, `target` that of a symbolic link."""

    mode: int
    uid: int = 0
    gid: int = 0
    content: str = ""
    target: str = ""


class Tree:
    """Entries by path. Contents of files are spooled into the directory `spool`."""

    def __init__(self, spool: str) -> None:
        os.makedirs(spool)
        self._spool = spool
        self._number = 0
        self._entries: dict[str, Entry] = {}
        for name in _UNDER_USR:
            self.directory(f"usr/{name}")
            self.symlink(name, f"usr/{name}")

    def __contains__(self, path: str) -> bool:
        return path in self._entries

    def __getitem__(self, path: str) -> Entry:
        return self._entries[path]

    def __iter__(self) -> Iterator[tuple[str, Entry]]:
        """All entries, every directory before what is in it, always in the same order."""
        return iter(sorted(self._entries.items(), key=lambda item: item[0].split("/")))

    def below(self, path: str) -> list[str]:
        """Paths under a directory."""
        return [p for p in self._entries if p.startswith(f"{path}/")]

    def directory(self, path: str, permissions: int = 0o755) -> None:
        """Make a directory and those above it; an existing one gets the permissions."""
        parent = os.path.dirname(path)
        if parent and parent not in self._entries:
            self.directory(parent)
        self._entries[path] = Entry(stat.S_IFDIR | permissions)

    def file(self, path: str, data: str | bytes = b"", permissions: int = 0o644) -> None:
        """Write a file; a file or link of that name is replaced."""
        spool = self._new_spool_file(permissions)
        with open(spool, "r+b") as file:
            file.write(data.encode() if isinstance(data, str) else data)
        self._add(path, Entry(stat.S_IFREG | permissions, content=spool))

    def symlink(self, path: str, target: str) -> None:
        """Make a symbolic link; a file or link of that name is replaced."""
        self._add(path, Entry(stat.S_IFLNK | 0o777, target=target))

    def remove(self, *paths: str) -> None:
        """Drop files, links and whole directories, those that are there."""
        for path in paths:
            for name in [*self.below(path), path]:
                self._entries.pop(name, None)

    def read(self, path: str) -> bytes:
        """What is in a file."""
        with open(self._entries[path].content, "rb") as file:
            return file.read()

    def add_tar(self, stream: IO[bytes], want: Callable[[str], bool] = lambda _: True) -> None:
        """Add the members of a tar archive whose path `want` accepts; devices and sockets are left out."""
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                path = usr_merged(os.path.normpath(member.name).lstrip("/"))
                if path == "." or not want(path):
                    continue
                permissions = member.mode & 0o7777
                if member.isdir():
                    entry = Entry(stat.S_IFDIR | permissions)
                elif member.issym():
                    entry = Entry(stat.S_IFLNK | 0o777, target=member.linkname)
                elif member.islnk():
                    # Becomes a second copy: simpler than link counts, and there are a handful.
                    original = self._entries[usr_merged(os.path.normpath(member.linkname))]
                    entry = Entry(original.mode, content=original.content)
                elif member.isfile():
                    spool = self._new_spool_file(permissions)
                    content = archive.extractfile(member)
                    assert content is not None
                    with open(spool, "r+b") as file:
                        shutil.copyfileobj(content, file)
                    entry = Entry(stat.S_IFREG | permissions, content=spool)
                else:
                    continue
                entry.uid, entry.gid = member.uid, member.gid
                self._add(path, entry)

    def _add(self, path: str, entry: Entry) -> None:
        old = self._entries.get(path)
        if path in _UNDER_USR and old is not None:
            return
        parent = os.path.dirname(path)
        if parent and parent not in self._entries:
            self.directory(parent)
        self._entries[path] = entry

    def _new_spool_file(self, permissions: int) -> str:
        self._number += 1
        path = os.path.join(self._spool, f"{self._number:06d}")
        # The packer copies the permissions of the spool file, which we must be able to read.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        os.chmod(path, permissions & 0o777 | 0o600)
        return path


def usr_merged(path: str) -> str:
    """Where a path leads in a system whose `bin` and so on are links."""
    top, _, rest = path.partition("/")
    return f"usr/{path}" if rest and top in _UNDER_USR else path
