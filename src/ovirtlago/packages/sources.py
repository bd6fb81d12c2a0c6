"""Packages from elsewhere: a directory, a package, or a repository on a server."""

from __future__ import annotations

import hashlib
import os
import threading
from urllib.parse import urlsplit

from lago.errors import LagoError
from lago.host.fetch import fetch
from lago.host.files import replacing
from lago.utils import write_atomically

from . import sync


def local(source: str, cache: str, cancelled: threading.Event) -> str:
    """Return a source as a directory or a package on this host; what is on a server is copied below `cache`.

    Args:
        source: a directory, a package, the address of a package (`.rpm`) or that of a repository.
        cache: directory for the copies, made if need be.
        cancelled: when it is set, a repository whose copy fails is not tried again.

    Raises:
        LagoError: it is none of these, or can't be had.
    """
    if "://" not in source:
        if not os.path.exists(source):
            raise LagoError(
                f"there is no file or directory {source}",
                hint="a source is a directory, an rpm file, or the address of an rpm file or of a repository",
            )
        return os.path.abspath(source)
    if any(character.isspace() for character in source):
        raise LagoError(f"{source!r} is no address", hint="write spaces as %20")
    name = hashlib.sha256(source.encode()).hexdigest()[:12]
    path = urlsplit(source).path
    if path.endswith(".rpm"):
        return _package(source, os.path.join(cache, name, os.path.basename(path)))
    config = os.path.join(cache, f"{name}.repo")
    os.makedirs(cache, exist_ok=True)
    write_atomically(config, f"[{name}]\nname={source}\nbaseurl={source}\ngpgcheck=0\n", 0o644)
    sync.sync(cache, config, [name], cancelled)
    return os.path.join(cache, name)


def _package(url: str, path: str) -> str:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with replacing(path) as temporary:
        fetch(url, temporary)
    return path


def part_for(dist: str, source: str) -> str:
    """Part of a source on this host for a distribution: its directory of that name, or else all of it."""
    part = os.path.join(source, dist)
    return part if os.path.isdir(part) else source
