"""What a template is made of, as a value."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .ext4 import EPOCH
from .kernel import INITRD_MODULES, META_PACKAGE
from .tree import Tree

_REVISION = 4
"""Counts changes of the building code that change its results."""

CMDLINE = "console=ttyS0 root=/dev/vda net.ifnames=0 cryptomgr.notests no_timer_check quiet"
"""Without the crypto self-tests and with only warnings on the console an emulated guest starts a second sooner; the
check of the timer fails, with a panic, when the host is busy."""


@dataclass(frozen=True)
class Command:
    """A shell command that is run in the image while it is built; `where` is the place that it was read from."""

    text: str
    where: str


@dataclass(frozen=True)
class File:
    """A file of an image; it belongs to root."""

    content: bytes
    permissions: int = 0o644


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A template that is built from packages of a Debian release.

    Attributes:
        base: `unpack` the packages only, or `install` them, with their dependencies, into a minimal system.
        files: path in the image to the data file of this package that goes there and its permissions.
        texts: path in the image to what is in it.
        links: path in the image to where it points.
        own: path in the image to the file that goes there; wins over the others.
        commands: run in the installed system when all files are there.
        size: of the disk, in bytes; the image in the store holds only what is used.
        metadata: what the store says about the image.
    """

    name: str
    suite: str
    base: Literal["unpack", "install"]
    packages: tuple[str, ...]
    files: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, File] = field(default_factory=dict)
    commands: tuple[Command, ...] = ()
    size: int
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def digest(self) -> str:
        """Digest of all that Lago itself puts into the result; the packages may change without it."""
        data = {name: data_file(name).decode() for name, _ in self.files.values()}
        data |= {name: data_file(name).decode() for name in ("initrd-init", "mke2fs.conf")}
        own = {path: [hashlib.sha256(one.content).hexdigest(), one.permissions] for path, one in self.own.items()}
        # Where a command stands makes no difference.
        recipe = {**asdict(self), "own": own, "commands": [command.text for command in self.commands]}
        parts = [_REVISION, EPOCH, CMDLINE, INITRD_MODULES, META_PACKAGE, recipe, data]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def contents(self) -> dict[str, File | str]:
        """All files, and links as what they point to, by path; those of the user win."""
        shipped = {path: File(data_file(name), permissions) for path, (name, permissions) in self.files.items()}
        texts = {path: File(text.encode()) for path, text in self.texts.items()}
        return {**shipped, **texts, **self.links, **self.own}

    def add_files(self, tree: Tree, only: Container[str] | None = None) -> None:
        """Put files and links into a tree; all, or those whose path is in `only`."""
        for path, one in self.contents().items():
            if only is not None and path not in only:
                continue
            if isinstance(one, str):
                tree.symlink(path, one)
            else:
                tree.file(path, one.content, one.permissions)


def data_file(name: str) -> bytes:
    """A file that comes with Lago for use in images."""
    with open(os.path.join(os.path.dirname(__file__), "..", "data", name), "rb") as file:
        return file.read()
