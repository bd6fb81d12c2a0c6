"""Helpers that programs may use: for running programs, waiting, doing things side by side, and writing files."""

from __future__ import annotations

import contextvars
import functools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, Self

from . import config, log
from .host.files import beside, json_text, sync, synced_together, write_atomically, write_out
from .host.locks import lock_file
from .host.parallel import in_parallel
from .host.programs import DEVNULL, PIPE, CommandStatus, package_hint, run, spawn
from .host.suggest import near
from .log import LOG

if TYPE_CHECKING:
    from .host.channels import drain_ssh_channel, interactive_ssh_channel

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


_SETUP = "lago-setup"

_LIBEXEC: Final = "/usr/libexec/lago/"
"""Where earlier releases had their helper programs; `run_command` looks there first."""


_OF_CHANNELS: Final = ("drain_ssh_channel", "interactive_ssh_channel")
"""What only programs of others use, and is not read for every command."""


def __getattr__(name: str) -> Any:
    if name in _OF_CHANNELS:
        from .host import channels

        return getattr(channels, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_OF_CHANNELS]


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


def run_command(
    command: Sequence[str],
    input_data: str | bytes | None = None,
    out_pipe: Any = -1,
    err_pipe: Any = -1,
    env: Mapping[str, str] | None = None,
    **kwargs: Any,
) -> CommandStatus:
    """Run a program to its end and return how it ended, whatever that is.

    Args:
        command: program and arguments; no shell.
        input_data: what it reads on standard input; without it the input is closed.
        out_pipe: where its output goes, as for `subprocess.Popen`; -1 collects it.
        err_pipe: the same for its error output.
        env: its environment in place of ours; its `PATH` is searched before ours.
        kwargs: more arguments for `subprocess.Popen`.

    Raises:
        HostError: the program is not installed.
    """
    environment = dict(os.environ if env is None else env)
    environment["PATH"] = _search_path(environment.get("PATH", ""), os.environ.get("PATH", os.defpath))
    data = input_data.encode() if isinstance(input_data, str) else input_data
    stdin = DEVNULL if data is None else PIPE
    options = {"stdin": stdin, "stdout": out_pipe, "stderr": err_pipe, "env": environment, **kwargs}
    with spawn(list(command), **options) as process:
        out, err = process.communicate(data)
    return CommandStatus(process.returncode, out or b"", err or b"")


def _search_path(*paths: str) -> str:
    """Search paths one after another, each directory once, in order."""
    directories = [directory for path in paths for directory in path.split(os.pathsep) if directory]
    first = [] if _LIBEXEC in directories else [_LIBEXEC]
    return os.pathsep.join(dict.fromkeys([*first, *directories]))


class RollbackContext:
    """Undo, at the end of a `with` block, what was done in it.

    Everything that was deferred runs, in order, however the block ends, unless `clear` was called. The first exception,
    be it the block's or one of the undoing, is remembered and raised when all have run.

        with RollbackContext() as rollback:
            make_directory()
            rollback.prependDefer(remove_directory)
            fill_directory()
            rollback.clear()
    """

    def __init__(self, *args: Callable[[], object]) -> None:
        self._deferred: list[Callable[[], object]] = list(args)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        first: BaseException | None = None
        deferred, self._deferred = self._deferred, []
        for undo in deferred:
            try:
                undo()
            except BaseException as error:
                first = first or error
        if exc_type is None and first is not None:
            raise first

    def defer(self, func: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        """Call `func` at the end, after what was deferred before."""
        self._deferred.append(functools.partial(func, *args, **kwargs))

    def prependDefer(self, func: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        """Call `func` at the end, before what was deferred before."""
        self._deferred.insert(0, functools.partial(func, *args, **kwargs))

    def clear(self) -> None:
        """Forget what was deferred: all went well."""
        self._deferred.clear()


class VectorThread:
    """Several callables, each in a thread of its own."""

    def __init__(self, targets: Iterable[Callable[[], Any]]) -> None:
        self.targets = list(targets)
        self.results: list[Any] = [None] * len(self.targets)
        self.exceptions: list[BaseException | None] = [None] * len(self.targets)
        self._threads: list[threading.Thread] = []

    def start_all(self) -> None:
        """Start all of them."""
        for index in range(len(self.targets)):
            # Each sees the context of ours, such as the depth of steps that are shown.
            run = functools.partial(contextvars.copy_context().run, self._call, index)
            self._threads.append(threading.Thread(target=run, daemon=True))
        for thread in self._threads:
            thread.start()

    def _call(self, index: int) -> None:
        try:
            self.results[index] = self.targets[index]()
        except BaseException as error:
            self.exceptions[index] = error

    def join_all(self, raise_exceptions: bool = True) -> list[Any]:
        """Wait until all have ended; what they returned, in order, None for one that failed.

        Args:
            raise_exceptions: raise the exception of the first one that failed, once all have ended.
        """
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        if raise_exceptions:
            for error in self.exceptions:
                if error is not None:
                    raise error
        return list(self.results)


def func_vector(target: Callable[..., Any], args_sequence: Iterable[Sequence[Any]]) -> list[Callable[[], Any]]:
    """`target` bound to each tuple of arguments of a sequence."""
    return [functools.partial(target, *args) for args in args_sequence]


def invoke_in_parallel(func: Callable[..., Any], *args_sequences: Iterable[Any]) -> list[Any]:
    """Call `func` with the first elements of all sequences, the second ones and so on, at once; results in order."""
    threads = VectorThread(func_vector(func, zip(*args_sequences, strict=False)))
    threads.start_all()
    return threads.join_all()


class EggTimer:
    """Rings after `timeout` seconds."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.start_time = time.monotonic()

    def elapsed(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() - self.start_time > self.timeout
