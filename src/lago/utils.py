"""The one way to run programs, wait, do things side by side, and write files."""

from __future__ import annotations

import abc
import contextlib
import contextvars
import json
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, Self, TypeVar

from . import config, log
from ._threads import EggTimer, RollbackContext, VectorThread, func_vector, invoke_in_parallel
from .errors import Errors
from .host.channels import drain_ssh_channel, interactive_ssh_channel
from .host.locks import lock_file
from .host.programs import CommandStatus, package_hint, run, run_command
from .log import LOG

__all__ = [
    "CommandStatus",
    "EggTimer",
    "RollbackContext",
    "VectorThread",
    "beside",
    "drain_ssh_channel",
    "func_vector",
    "in_parallel",
    "interactive_ssh_channel",
    "invoke_in_parallel",
    "json_dump",
    "json_text",
    "lock_file",
    "near",
    "package_hint",
    "run",
    "run_command",
    "service_is_enabled",
    "setup_logging",
    "sync",
    "synced_together",
    "write_atomically",
    "write_out",
]

T = TypeVar("T")
R = TypeVar("R")

_SETUP = "lago-setup"


def in_parallel(
    function: Callable[[T], R], items: Iterable[T], *, what: str, cancel: Callable[[], None] = lambda: None
) -> list[R]:
    """`function` of every item, all at once; results in order.

    Every call runs to its end, also when we are interrupted; `cancel` is called then and should make them end early.
    One failure is raised as it is, several as `Errors` named `what`.
    """
    from concurrent.futures import ThreadPoolExecutor

    todo = list(items)
    if not todo:
        return []
    with ThreadPoolExecutor(max_workers=min(len(todo), 64)) as pool:
        # Each call sees the context of ours, such as the depth of steps that are shown.
        futures = [pool.submit(contextvars.copy_context().run, function, item) for item in todo]
        try:
            errors = [error for f in futures if (error := f.exception())]
        except BaseException:
            cancel()
            raise
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise Errors(f"{what}: {len(errors)} of {len(todo)} failed", errors)
    return [f.result() for f in futures]


@contextlib.contextmanager
def meanwhile(errand: Callable[[], object]) -> Iterator[None]:
    """Run something beside the block; when both have ended, what it raised is raised unless the block failed too."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(errand)
        yield
        running.result()


def no_phase(_vm: str, _phase: str) -> None:
    """For those who don't want to hear what a machine does now."""


def no_errand() -> None:
    """For those who have nothing to be done beside something else."""


class Closing(abc.ABC):
    """Something that is closed when a `with` block ends."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of it."""


def near(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest one, or all there are."""
    import difflib

    names = list(known)
    close = difflib.get_close_matches(name, names, 1)
    return f"did you mean {close[0]}?" if close else f"there are: {', '.join(names) or 'none'}"


_unseen: set[str] = set()
"""Directories that nobody sees yet, and all of whose files are synced before anybody does."""


@contextlib.contextmanager
def synced_together(directory: str) -> Iterator[None]:
    """Sync all that is in a directory when the block ends well, in place of each file when it is written.

    For a directory that nobody sees before then: one wait for the disk in place of one per file. It is the place of a
    file that counts, whoever writes it and in which thread; files elsewhere are synced as ever.

    Args:
        directory: an absolute path.
    """
    _unseen.add(directory)
    try:
        yield
    finally:
        _unseen.discard(directory)
    found = [os.path.join(place, name) for place, _, names in os.walk(directory) for name in (".", *names)]
    plain = [path for path in found if stat.S_IFMT(os.lstat(path).st_mode) in (stat.S_IFREG, stat.S_IFDIR)]
    in_parallel(sync, plain, what="write to disk")


def _synced_later(path: str) -> bool:
    return any(path.startswith(f"{directory}{os.sep}") for directory in list(_unseen))


def sha256(path: str) -> str:
    """SHA-256 of a file, hexadecimal."""
    import hashlib

    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: str) -> None:
    """Return when the content of a file or directory is on the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def beside(path: str) -> str:
    """A temporary name in the same directory, no other thread's."""
    directory, name = os.path.split(path)
    return os.path.join(directory, f".{name}.{os.getpid()}.{threading.get_ident()}")


def write_atomically(path: str, data: str | bytes, mode: int = 0o644) -> None:
    """Write a file so that at any instant, also after a crash, it has its old content or all of the new."""
    temporary = beside(path)
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode), "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            os.fchmod(file.fileno(), mode)
            file.flush()
            if not _synced_later(path):
                os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_out(path: str, data: str | bytes) -> None:
    """Write a file that a person named, as `write_atomically` does, but into a device or a pipe, which stays one."""
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        with open(path, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
    else:
        write_atomically(path, data)


def json_text(value: Any) -> str:
    """JSON as Lago writes it to files: indented by 4, keys in order."""
    return json.dumps(value, indent=4, sort_keys=True) + "\n"


def json_dump(obj: Any, f: IO[str]) -> None:
    """Write JSON to an open file, as Lago writes it."""
    f.write(json_text(obj))


def service_is_enabled(name: str) -> bool:
    """Whether systemd starts a service at boot of this host. Raises HostError without systemd."""
    return not run(["systemctl", "is-enabled", "--quiet", name], check=False)


def setup_logging(logdir: str) -> None:
    """Log everything to `lago.log` in a directory, made if need be, and show steps as config `loglevel` says.

    For programs that use Lago as a library. A second call moves the log.
    """
    os.makedirs(logdir, exist_ok=True)
    for old in [handler for handler in LOG.handlers if handler.get_name() == _SETUP]:
        LOG.removeHandler(old)
        old.close()
    log.setup_console(config.get("loglevel"), config.get("logdepth"))
    handler = log.file_handler(os.path.join(logdir, "lago.log"))
    handler.set_name(_SETUP)
    handler.setLevel(logging.DEBUG)
    LOG.addHandler(handler)
