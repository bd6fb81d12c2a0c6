"""Locks on directories that outlive processes: a lock is held as long as its holder's key file exists unchanged.

The holders stand in `<directory>/.rwlock`, as earlier releases wrote it:

    {"excl": false, "users": {"<path of a key file>": "<its content>"}}

Several may share a directory, one alone may have it exclusively. A holder whose key file is gone, or has another
content, holds nothing any more.
"""

from __future__ import annotations

import os
import time
from typing import Any, Final

from .errors import LockTimeout, PrefixError
from .host import shape
from .host.files import json_text, write_atomically
from .host.locks import lock_file
from .host.waiting import within

_PACE: Final = 0.1
_BRIEF: Final = 60
"""Seconds to wait for whoever is just reading or writing the list of holders."""


def _lock_path(path: str) -> str:
    return os.path.join(path, ".rwlock")


def lock(path: str, excl: bool, key_path: str, timeout: float | None = None) -> None:
    """Lock a directory, when all who hold it against us have gone.

    Args:
        path: the directory.
        excl: whether nobody else may hold it meanwhile.
        key_path: a file with a content of its own, for example a prefix's uuid.
        timeout: seconds to wait; for ever without it.

    Raises:
        LockTimeout: others still hold it.
        PrefixError: the directory or the key file can't be used.
    """
    for left in within(timeout):
        if trylock(path, excl, key_path):
            return
        # Holders need not run, so there is nothing to be woken by.
        time.sleep(min(left, _PACE))
    raise LockTimeout(
        f"{path} is still locked after {timeout:g} s",
        details=f"by the holders of {', '.join(_load(path)['users'])}",
        hint="a lock ends when its key file is removed",
    )


def trylock(path: str, excl: bool, key_path: str) -> bool:
    """Lock a directory unless others hold it against us, and say whether it is locked now; see `lock`."""
    key = _content(key_path)
    if key is None:
        raise PrefixError(f"{key_path} can't be read, so it can't be the key of a lock", hint="give a file that exists")
    with _guarded(path):
        state = _load(path)
        users = state["users"]
        if users and (excl or state["excl"]):
            return False
        users[os.path.abspath(key_path)] = key
        _save(path, {"excl": bool(excl), "users": users})
    return True


def unlock(path: str, key_path: str) -> None:
    """Unlock a directory; nothing happens if it was not locked with this key."""
    with _guarded(path):
        state = _load(path)
        state["users"].pop(os.path.abspath(key_path), None)
        _save(path, state)


def _guarded(path: str) -> Any:
    if not os.path.isdir(path):
        raise PrefixError(f"{path} is no directory, so it can't be locked")
    return lock_file(f"{_lock_path(path)}.guard", what=f"the list of those who lock {path}", timeout=_BRIEF)


def _load(path: str) -> dict[str, Any]:
    """Read the list of holders without those that are gone."""
    try:
        with open(_lock_path(path), encoding="utf-8") as file:
            raw = shape.parse(file.read(shape.MOST))
        users = {str(key): content for key, content in raw["users"].items() if _content(key) == content}
        return {"excl": bool(raw["excl"]) and bool(users), "users": users}
    except FileNotFoundError:
        return {"excl": False, "users": {}}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PrefixError(
            f"{_lock_path(path)} is damaged", details=str(error), hint="remove it if nobody uses the directory"
        ) from None


def _save(path: str, state: dict[str, Any]) -> None:
    if not state["users"]:
        state = {"excl": False, "users": {}}
    write_atomically(_lock_path(path), json_text(state), 0o664)


def _content(key_path: str) -> str | None:
    try:
        with open(key_path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return None
