"""The screens that a report has in it."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from ..errors import printable

Picture = str | dict[str, str]
"""A `data:` URL or a text, or `{"missing": why}`."""

_LARGEST: Final = 4 << 20
"""Bytes of one picture at most."""

_TOGETHER: Final = 24 << 20
"""Bytes of all pictures of a report at most: a report is mailed, and kept by continuous integration."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PIXELS: Final = 64_000_000


def of(prefix: Path, entries: Iterable[Mapping[str, Any]]) -> dict[str, Picture]:
    """Return the pictures that a journal names, by their names.

    The journal may come from elsewhere, so only regular files below the prefix are read.
    """
    found: dict[str, Picture] = {}
    room = _TOGETHER
    for entry in entries:
        name = entry.get("file")
        if entry.get("kind") != "screen" or not isinstance(name, str) or name in found:
            continue
        try:
            data = _read(prefix, name, room)
            found[name] = _text(data) if entry.get("form") == "txt" else _image(data)
            room -= len(data)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            found[name] = {"missing": printable(reason)}
    return found


def _read(prefix: Path, name: str, room: int) -> bytes:
    path = (prefix / name).resolve()
    if not path.is_relative_to(prefix.resolve()):
        raise ValueError("this is not in the environment's directory")
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("this is no file")
        if status.st_size > min(_LARGEST, room):
            raise ValueError("too large to be put into the report; it lies in the environment's directory")
        return file.read(_LARGEST)


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


def _image(data: bytes) -> str:
    """Return a URL of a PNG, the one form that screens have; the size stands in its first chunk."""
    if not data.startswith(_PNG) or len(data) < 24:
        raise ValueError("this is no PNG")
    if int.from_bytes(data[16:20]) * int.from_bytes(data[20:24]) > _PIXELS:
        raise ValueError("it has too many pixels to be shown")
    return f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"
