"""Whose files are obeyed: those of the effective user, of root, and of users that the configuration trusts.

The files of an environment say which programs run, which libvirt is spoken to and which directories are removed. So
what somebody else has written, or can write, is refused: his environment may be found in a directory above the working
directory, or come with a directory that he shares. A file is judged by the descriptor that it is then read from, so
that putting another one in its place meanwhile is of no use.

As root that goes for the files of the user who called sudo as well: not all that runs as that user may act as root.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shlex
import stat
from collections.abc import Iterable, Iterator
from typing import Final

from .. import config
from ..errors import ConfigError, PrefixError
from ..paths import Paths

EVERYBODY: Final = "*"
"""In `trusted_users`: nobody is asked for."""

_UUID_DIGITS: Final = 32


def is_trusted(uid: int) -> bool:
    """Whether files of a user are obeyed. Raises ConfigError if `trusted_users` names somebody who does not exist."""
    return uid in (os.geteuid(), 0) or _allowed(uid)


def check(path: str) -> None:
    """Refuse a file or directory, or a link to one, that is not ours or that others can write to.

    Raises:
        PrefixError: it says whose it is, and the remedy.
        OSError: it is not there.
    """
    if stat.S_ISLNK((link := os.lstat(path)).st_mode):
        _check_owner(path, link)
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        _check(path, fd)
    finally:
        os.close(fd)


def check_prefix(paths: Paths) -> None:
    """Refuse a prefix of which anything that is obeyed is not ours, or can be written by others.

    Contents of disks and logs are not looked at; their directories are.

    Raises:
        PrefixError: it names the path, whose it is, and the remedy.
    """
    check(paths.prefix())
    for path in _obeyed(paths):
        try:
            check(path)
        except FileNotFoundError:
            # A link that leads nowhere, or what another Lago has just replaced.
            continue


def _obeyed(paths: Paths) -> Iterator[str]:
    yield from _entries(paths.prefix())
    yield from _entries(paths.virt())
    for directory, names, files in os.walk(paths.scripts()):
        yield from (os.path.join(directory, name) for name in (*names, *files))


def _entries(directory: str) -> Iterable[str]:
    try:
        return [os.path.join(directory, name) for name in os.listdir(directory)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def read(path: str) -> str:
    """Read a file of ours.

    Raises:
        PrefixError: it is not ours, others can write it, or it is no file.
        OSError: it can't be read.
        UnicodeDecodeError: it is no UTF-8 text.
    """
    # A pipe in its place must not be waited for.
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), encoding="utf-8") as file:
        if not stat.S_ISREG(_check(path, file.fileno()).st_mode):
            raise PrefixError(f"{path} is not a file", hint="look what it is, and restore the file")
        return file.read()


def read_uuid(path: str) -> str:
    """Read the UUID of a prefix from its file `uuid`; names of files are made of it. Raises PrefixError, OSError."""
    return checked_uuid(read(path).strip(), path)


def checked_uuid(text: object, path: str) -> str:
    """A UUID that stands in the file `path`, if it is one. Raises PrefixError."""
    if isinstance(text, str) and len(text) == _UUID_DIGITS and set(text) <= set("0123456789abcdef"):
        return text
    raise PrefixError(
        f"{path} is damaged",
        details=f"a uuid has {_UUID_DIGITS} hexadecimal digits, found {str(text)[:60]!r}",
        hint="restore the file; or remove the directory, if none of its machines runs, and make it again by lago init",
    )


_WHY: Final = "what the files of an environment say is done with your rights"


def _check(path: str, fd: int) -> os.stat_result:
    found = os.fstat(fd)
    _check_owner(path, found)
    if writers := _writers(found, fd):
        raise PrefixError(
            f"{path} can be written by {writers}, so it is not obeyed",
            details=_WHY,
            hint=f"if nobody changed what is there: chmod go-w {shlex.quote(path)}; or name all who may write it in "
            f"the setting trusted_users, {EVERYBODY} is everybody",
        )
    return found


def _check_owner(path: str, found: os.stat_result) -> None:
    if is_trusted(found.st_uid):
        return
    name = user_name(found.st_uid)
    sudo = os.geteuid() == 0 and os.environ.get("SUDO_UID") == str(found.st_uid)
    raise PrefixError(
        f"{path} belongs to {name}, so it is not obeyed",
        details=_WHY,
        hint=f"{'run lago without sudo; or ' if sudo else ''}if you trust {name}, say so by the setting trusted_users: "
        f"LAGO_TRUSTED_USERS={name}, or in lago.conf",
    )


def _writers(found: os.stat_result, fd: int) -> str:
    """Who can write it besides those who are trusted, for a person; empty if there is nobody."""
    if found.st_mode & stat.S_IWOTH and not _allowed():
        return "everybody"
    if not found.st_mode & stat.S_IWGRP or _allowed():
        return ""
    if not all(is_trusted(uid) for uid in _members(found.st_gid)):
        return f"the group {_group(found.st_gid)}"
    # With an access list these bits say what it allows at most, not to whom.
    listed = "system.posix_acl_access" in os.listxattr(f"/proc/self/fd/{fd}")
    return "those in its access list" if listed else ""


def _allowed(uid: int | None = None) -> bool:
    """Whether the configuration trusts a user, without one everybody."""
    names = _trusted_users()
    return EVERYBODY in names or (uid is not None and any(_uid(name) == uid for name in names))


def _trusted_users() -> list[str]:
    found = config.find("trusted_users")
    if found is not None and os.path.isabs(found.source):
        # As root with the home directory of somebody else, as sudo has it: his file must not say that he is trusted.
        state = os.stat(found.source)
        if state.st_uid not in (os.geteuid(), 0) or state.st_mode & stat.S_IWOTH:
            return []
    names: str = config.get("trusted_users")
    return names.replace(",", " ").split()


def _uid(name: str) -> int:
    if name.isascii() and name.isdigit():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ConfigError(
            f"trusted_users: there is no user {name}", hint="it has names or numbers of users, or * for everybody"
        ) from None


def user_name(uid: int) -> str:
    """What a user is called, or else his number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _members(gid: int) -> Iterator[int]:
    """The users of a group: those that it lists, and those who have it from their login on."""
    try:
        names = grp.getgrgid(gid).gr_mem
    except KeyError:
        # Nobody knows who is in it.
        yield -1
        return
    yield from (user.pw_uid for user in pwd.getpwall() if user.pw_gid == gid)
    for name in names:
        with contextlib.suppress(KeyError):
            yield pwd.getpwnam(name).pw_uid
