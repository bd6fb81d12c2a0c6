"""The one way to run programs, wait, do things side by side, and write files."""

from __future__ import annotations

import contextlib
import contextvars
import fcntl
import json
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from .errors import CommandError, Errors, HostError, LockTimeout
from .log import LOG

T = TypeVar("T")
R = TypeVar("R")


class CommandStatus(NamedTuple):
    """How a command ended. Its truth value is "it failed", as in earlier releases."""

    code: int
    out: bytes
    err: bytes

    def __bool__(self) -> bool:
        return self.code != 0


def run(
    argv: Sequence[str],
    *,
    input_data: bytes | None = None,
    check: bool = True,
    capture: bool = True,
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    hint: str = "",
) -> CommandStatus:
    """Run a program to its end and return how it ended.

    Standard input is `input_data` or closed. The program is terminated, and waited for, when anything interrupts us.

    Args:
        argv: program and arguments; no shell.
        check: raise `CommandError` on a non-zero exit status.
        capture: collect its output; otherwise it goes where ours goes.
        timeout: seconds; `CommandError` when it passes.
        env: variables added to ours.
        hint: what to do if it fails.

    Raises:
        HostError: the program is not installed.
        CommandError: it failed; details are the end of its error output.
    """
    LOG.debug("run: %s", shlex.join(argv))
    pipe = subprocess.PIPE if capture else None
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL if input_data is None else subprocess.PIPE,
            stdout=pipe,
            stderr=pipe,
            env={**os.environ, **env} if env else None,
            cwd=cwd,
        )
    except FileNotFoundError as error:
        if error.filename != argv[0]:
            raise
        raise HostError(f"the program {argv[0]} is not installed", hint=package_hint(argv[0])) from None
    with process:
        try:
            out, err = process.communicate(input_data, timeout=timeout)
        except BaseException as error:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
            if isinstance(error, subprocess.TimeoutExpired):
                raise CommandError(
                    argv,
                    -signal.SIGTERM,
                    details=f"it did not end within {timeout:g} s: {shlex.join(argv)}",
                    hint=hint,
                ) from None
            raise
    status = CommandStatus(process.returncode, out or b"", err or b"")
    LOG.debug("ended: %s: %d", argv[0], status.code)
    if check and status:
        text = (status.err or status.out).decode(errors="replace")
        raise CommandError(argv, status.code, details=_tail(text), hint=hint)
    return status


def _tail(text: str, lines: int = 20) -> str:
    return "\n".join(text.rstrip().splitlines()[-lines:])


_PACKAGES = {
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "libvirtd": "libvirt-daemon",
    "virsh": "libvirt-clients",
    "newuidmap": "uidmap",
    "mke2fs": "e2fsprogs",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "dnsmasq": "dnsmasq-base",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "pasta": "passt",
}


def package_hint(program: str) -> str:
    """What to install to get `program` on Debian and its relatives."""
    return f"apt-get install {_PACKAGES.get(program, program)}"


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


def near(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest one, or all there are."""
    import difflib

    names = list(known)
    close = difflib.get_close_matches(name, names, 1)
    return f"did you mean {close[0]}?" if close else f"there are: {', '.join(names) or 'none'}"


_synced_later: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("synced later", default=None)


@contextlib.contextmanager
def synced_together() -> Iterator[None]:
    """Files that `write_atomically` writes meanwhile are only sure to survive a power failure when this ends.

    For what nobody sees before then: one wait for the disk in place of one per file.
    """
    paths: list[str] = []
    outside = _synced_later.set(paths)
    try:
        yield
    finally:
        _synced_later.reset(outside)
    in_parallel(sync, paths, what="write to disk")


def sync(path: str) -> None:
    """Return when the content of a file is on the disk."""
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
    later = _synced_later.get()
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode), "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            os.fchmod(file.fileno(), mode)
            file.flush()
            if later is None:
                os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    if later is not None:
        later.append(path)


def json_text(value: Any) -> str:
    """JSON as Lago writes it to files: indented by 4, keys in order."""
    return json.dumps(value, indent=4, sort_keys=True) + "\n"


@contextlib.contextmanager
def lock_file(path: str, *, what: str, timeout: float = 120, shared: bool = False) -> Iterator[int]:
    """Hold the lock file at `path`; it stays on disk, and the kernel frees it however we end.

    The file holds the pid of its last exclusive holder, for the message when we wait in vain.

    Yields the descriptor: who inherits it holds the lock too.

    Args:
        what: what is locked, for the message.
        timeout: seconds to wait.

    Raises:
        LockTimeout: somebody else still holds it.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _flock(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, what, timeout)
        if not shared:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield fd
    finally:
        os.close(fd)


def _flock(fd: int, kind: int, what: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    patience = time.monotonic() + 1
    while True:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
        if time.monotonic() > patience:
            patience = deadline + 1
            LOG.warning("%s is in use by process %s, waiting for it", what, holder)
        if time.monotonic() > deadline:
            raise LockTimeout(
                f"{what} is still in use by process {holder} after {timeout:g} s",
                hint=f"wait for it, or end it: kill {holder}",
            )
        # flock has no time-out and no event to wait for together with one.
        time.sleep(0.05)
