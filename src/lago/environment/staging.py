"""Directories that become a prefix by a rename, or are swept."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator
from typing import Final

from .. import config
from ..constants import PRIVATE
from ..errors import PrefixError
from ..host.files import remove_tree
from ..host.locks import lock_file
from ..paths import Paths, check_place
from .claims import Claims

UNFINISHED: Final = ".lago-unfinished-"
"""Directories with this prefix beside a prefix are what an interrupted `create` or `destroy` left."""


@contextlib.contextmanager
def staged(path: str) -> Iterator[str]:
    """Context manager: a new locked directory that becomes `path` when the block ends.

    If the block fails, the directory is removed, and what it holds is given back.

    Raises:
        PrefixError: there is something at `path`, or it can't be used; see `lago.paths.check_place`.
    """
    check_free(path)
    staging = make_unfinished(path)
    paths = Paths(staging)
    try:
        with lock_file(paths.lock(), what=staging, timeout=0):
            yield staging
            try:
                os.rename(staging, path)
            except OSError as error:
                raise PrefixError(f"{path}: {error.strerror}", hint="choose another name") from None
    except BaseException:
        Claims(paths).release()
        remove_tree(staging, ignore_errors=True)
        raise


def check_free(path: str) -> None:
    """Raise PrefixError if a new prefix can't be made at `path`, or if something is there."""
    check_place(path)
    if os.path.lexists(path):
        raise already_there(path)


def make_unfinished(path: str) -> str:
    """Make a new empty directory that is swept if we are interrupted, and that nobody else may enter."""
    made = os.path.join(os.path.dirname(path), UNFINISHED + os.urandom(4).hex())
    os.mkdir(made, 0o700)
    keep_private(made)
    return made


def keep_private(path: str) -> None:
    """Let nobody else enter a directory of ours that will hold disks, memory and passwords of guests.

    A libvirt of the system runs QEMU as another user, who must.
    """
    os.chmod(path, 0o700 if config.get("libvirt_url") == PRIVATE else 0o755)


def already_there(path: str) -> PrefixError:
    """Return the error that something is at the place of a new prefix."""
    return PrefixError(f"{path} exists already", hint=f"choose another name, or lago -p {shlex.quote(path)} destroy")
