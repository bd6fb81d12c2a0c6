"""Files out of the disks of a machine that can't be asked for them, by libguestfs; nothing is written to the disks."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Final

from ..errors import CommandError, HostError
from ..guest import unpacking
from ..guest.unpacking import Part
from ..host import shape
from ..host.programs import package_hint, run
from . import programs

_PYTHON: Final = "/usr/bin/python3"
"""The system's, which is the one that has libguestfs's module."""

_INSIDE: Final = os.path.join(os.path.dirname(__file__), "inside.py")
_appliances = threading.BoundedSemaphore(os.cpu_count() or 1)
"""Each is a machine with half a gigabyte of memory."""


def fetch(
    images: Sequence[tuple[str, str]], wanted: Sequence[tuple[str, Mapping[str, str]]], *, root: str, what: str
) -> list[str]:
    """Copy files and trees of a guest into directories of this host, as `lago.guest.transfer.fetch` does.

    Args:
        images: the disks in order, each with its format; nobody must write to them meanwhile.
        wanted: directories of this host, and for each by path on the guest the name to get there.
        root: the file system to look in, or a part of its name, if the guest has several and says not which is its `/`.
        what: what can't be done, for messages.

    Returns:
        The paths that are not there on the guest.

    Raises:
        HostError: libguestfs is not installed.
        LagoError: the disks can't be read, or something can't be written here; nothing of it is left.
        VMError: something is neither a file nor a directory.
    """
    _require()
    with unpacking.on_this_host(what), contextlib.ExitStack() as stack:
        staged = [(stack.enter_context(unpacking.tree(directory)), directory, names) for directory, names in wanted]
        todo = [
            (path, os.path.join(tree, str(number))) for tree, _, names in staged for number, path in enumerate(names)
        ]
        request = {"images": list(images), "root": root, "paths": todo}
        with _appliances:
            done = programs.run_program([_PYTHON, "-I", _INSIDE], failure=what, input_data=json.dumps(request).encode())
        missing = shape.parse(done.text)["missing"]
        for tree, directory, names in staged:
            parts = [
                Part(path, f"/{number}", os.path.join(directory, name))
                for number, (path, name) in enumerate(names.items())
                if path not in missing
            ]
            unpacking.distribute(tree, parts, what)
    return [path for path in dict.fromkeys(path for path, _ in todo) if path in missing]


def _require() -> None:
    try:
        run([_PYTHON, "-I", "-c", "import guestfs"])
    except (CommandError, HostError):
        raise HostError(
            f"libguestfs can't be used: {_PYTHON} has no module guestfs", hint=package_hint("python3-guestfs")
        ) from None
