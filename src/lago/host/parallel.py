"""Things done side by side, and closed."""

from __future__ import annotations

import abc
import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self, TypeVar

from ..errors import Errors

T = TypeVar("T")


R = TypeVar("R")


def in_parallel(
    function: Callable[[T], R], items: Iterable[T], *, what: str, cancel: Callable[[], None] = lambda: None
) -> list[R]:
    """Call `function` with every item, all at once, and return the results in order.

    Every call that has begun runs to its end, also when we are interrupted, however often; `cancel` is called then and
    should make them end early. One failure is raised as it is, several as `Errors` named `what`.
    """
    from concurrent.futures import ThreadPoolExecutor

    todo = list(items)
    if not todo:
        return []
    calls = _Calls()
    with ThreadPoolExecutor(max_workers=min(len(todo), 64)) as pool:
        try:
            # Each call sees the context of ours, such as the depth of steps that are shown.
            futures = [pool.submit(calls.run, contextvars.copy_context().run, function, item) for item in todo]
            errors = [error for f in futures if (error := f.exception())]
        except BaseException:
            calls.end(cancel)
            raise
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise Errors(f"{what}: {len(errors)} of {len(todo)} failed", errors)
    return [f.result() for f in futures]


class _Calls:
    """Calls in threads of a pool, which does not know of a thread whose start was interrupted, and would not wait."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._ended = False

    def run(self, call: Callable[..., T], *arguments: Any) -> T:
        """Do a call, unless it is too late for that."""
        with self._changed:
            if self._ended:
                from concurrent.futures import CancelledError

                raise CancelledError
            self._running += 1
        try:
            return call(*arguments)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def end(self, cancel: Callable[[], None]) -> None:
        """Let no call begin any more, and wait for those that have; who is impatient meanwhile changes nothing."""
        while True:
            try:
                with self._changed:
                    self._ended = True
                cancel()
                with self._changed:
                    self._changed.wait_for(lambda: not self._running)
            except KeyboardInterrupt:
                continue
            return


@contextlib.contextmanager
def meanwhile(errand: Callable[[], object]) -> Iterator[None]:
    """Context manager: something runs beside the block; what it raises is raised at the end unless the block failed."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(errand)
        yield
        running.result()


def no_errand() -> None:
    """Do nothing, for those who have nothing to be done beside something else."""


class Closing(abc.ABC):
    """Something that is closed when a `with` block ends."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abc.abstractmethod
    def close(self) -> None:
        """Close it."""
