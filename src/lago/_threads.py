"""Roll back, wait, and do things side by side: the documented helpers of `lago.utils`."""

from __future__ import annotations

import contextvars
import functools
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self


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
    """`func` of the first elements of all sequences, of the second ones, and so on, all at once; results in order."""
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
