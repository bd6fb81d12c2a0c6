"""Things done side by side, and closed."""

from __future__ import annotations

import abc
import contextlib
import contextvars
from collections.abc import Callable, Iterable, Iterator
from typing import Self, TypeVar

from ..errors import Errors

T = TypeVar("T")


R = TypeVar("R")


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
    """Context manager: something runs beside the block; what it raised is raised in the end unless the block failed."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(errand)
        yield
        running.result()


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
