"""Which environments this user has on this host, wherever they are.

The register is of the same kind as that of a template store: of each prefix a note of its place, and a hard link to a
file in it where file systems allow it. That file is another one than the store's, as each counts its links. So a prefix
that was removed by hand is noticed without having been told, one that was moved is told apart from that, and it is
written anew when a command touches the prefix the next time.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from .. import config
from ..errors import LagoError
from ..host import shape, trust
from ..host.files import write_atomically
from ..log import LOG

if TYPE_CHECKING:
    from ..paths import Paths
    from ..templates.references import User


_NOTE: Final = shape.record({"path": shape.text()})


def register() -> str:
    """The directory of the register, of which every user has his own."""
    return os.path.join(config.state_home(), "environments")


def record(paths: Paths) -> None:
    """Record where a prefix is, unless that is known. It may fail, and nobody is told but the log."""
    try:
        _record(paths)
    except Exception as error:
        LOG.debug("%s is not in the list of environments: %s", paths.prefix(), error)


def _record(paths: Paths) -> None:
    uuid = trust.read_uuid(paths.uuid())
    if _is_known(paths, uuid):
        return
    from ..templates.references import Users

    users = Users(register())
    if os.stat(paths.uuid()).st_uid != os.geteuid() or not _is_ours(register()):
        return
    if _content(paths.listed()) != uuid:
        write_atomically(paths.listed(), uuid)
    elif users.place(uuid) == paths.prefix() and users.linked(paths.listed(), uuid):
        return
    # Made first, since who uses no image of a store without users is not recorded there.
    os.makedirs(os.path.join(register(), ".users"), 0o700, exist_ok=True)
    users.register(paths.listed(), (), paths.prefix())


def _content(path: str) -> str:
    with contextlib.suppress(OSError, LagoError):
        return trust.read(path)
    return ""


def _is_known(paths: Paths, uuid: str) -> bool:
    """Whether the note and the link are there, seen without the import of all that knows templates."""
    link = os.path.join(register(), ".users", uuid)
    try:
        with open(f"{link}.json", encoding="utf-8") as note:
            said = _NOTE(shape.parse(note.read(shape.MOST)))
        return bool(said["path"] == paths.prefix()) and os.path.samefile(link, paths.listed())
    except (OSError, ValueError):
        return False


def forget(uuid: str) -> None:
    """Remove a prefix from the list; nothing happens to it. Raises PrefixError if that is no UUID."""
    from ..templates.references import Users

    with contextlib.suppress(OSError):
        Users(register()).unregister(uuid)


def recorded() -> list[User]:
    """All prefixes that were touched since there is the list, also those that are moved or gone."""
    from ..templates.references import Users

    with contextlib.suppress(NotADirectoryError, PermissionError):
        return Users(register()).all()
    return []


def _is_ours(path: str) -> bool:
    """Whether the next directory that exists is ours: root with the home of somebody else leaves nothing there."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return os.stat(path).st_uid == os.geteuid()
