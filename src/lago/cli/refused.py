"""What the system refuses for reasons that are not ours, put into words: a path that was given, a full disk."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
from collections.abc import Iterable, Iterator
from typing import Any, Final

from .. import config
from ..errors import REMEDIES, ConfigError, LagoError

_OF_PATHS: Final = {
    errno.EISDIR: "it is a directory; name a file in it",
    errno.ENOTDIR: "a part of the path is a file; choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def explain(error: OSError, words: Iterable[str]) -> LagoError | None:
    """Return what a person should read in place of a traceback; None if the mistake is not theirs.

    Args:
        words: of the command line.
    """
    if error.errno == errno.ENOENT and not _somewhere():
        return LagoError("the directory that this is called from was removed", hint="cd to one that exists")
    path = _given(error, [*words, *_settings()])
    hint = REMEDIES.get(error.errno or 0)
    if path is None and hint is None:
        return None
    path = path or error.filename
    hint = hint or _OF_PATHS.get(error.errno or 0) or _missing(path)
    return LagoError(f"{path}: {error.strerror}" if path else f"{error.strerror}", hint=hint)


def _somewhere() -> bool:
    try:
        return bool(os.getcwd())
    except FileNotFoundError:
        return False


def _settings() -> Iterator[str]:
    for name in config.OPTIONS:
        # One that is wrong is no path that anybody has used.
        with contextlib.suppress(ConfigError):
            if isinstance(value := config.get(name, None), str):
                yield value


def _given(error: OSError, words: Iterable[str]) -> str | None:
    """The path that an error is about, as it was given, if it was."""
    paths = [os.path.abspath(name) for name in (error.filename, error.filename2) if name and isinstance(name, str)]
    for word in words:
        for given in filter(None, (word, word.partition("=")[2])):
            whole = os.path.abspath(os.path.expanduser(given))
            if any(path == whole or _temporary(path, whole) for path in paths):
                return given
            # A directory above it that could not be made; or something in it, unless that is just not there.
            above = [path for path in paths if whole.startswith(f"{path}/")]
            inside = [path for path in paths if path.startswith(f"{whole}/") and error.errno != errno.ENOENT]
            if above or inside:
                return (above or inside)[0]
    return None


def _temporary(path: str, whole: str) -> bool:
    """Whether a file was to be renamed to the other one; see `lago.utils.beside`."""
    directory, name = os.path.split(whole)
    return path.startswith(os.path.join(directory, f".{name}."))


def _missing(path: Any) -> str:
    """The hint for what is not there: to make its directory if that is what lacks."""
    directory = os.path.dirname(os.path.abspath(os.path.expanduser(path)))
    return "choose another place" if os.path.isdir(directory) else f"mkdir -p {shlex.quote(directory)}"
