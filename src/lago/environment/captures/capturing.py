"""What programs have of captures that they began."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from . import ring
from .model import Capture


class Capturing:
    """Captures of nets that go on until they are stopped; as a context manager until the block ends.

    Attributes:
        captures: what was begun; after `stop` what has come of it.
    """

    def __init__(self, captures: Sequence[Capture], stop: Callable[[Sequence[str]], Sequence[Capture]]) -> None:
        self.captures = tuple(captures)
        self._stop = stop
        self._ended = not captures

    @property
    def paths(self) -> list[str]:
        """Paths of the pcapng files that are there now, of each net the oldest first; all are whole at any time."""
        return [path for one in self.captures for path in ring.files(one.files[-1])]

    def stop(self) -> list[str]:
        """End the captures, and return the paths of their files.

        Raises:
            LagoError: the environment is gone.
        """
        if not self._ended:
            self._ended = True
            newest = {one.files[-1] for one in self.captures}
            ended = self._stop([one.net for one in self.captures if os.path.exists(one.files[-1])])
            # Somebody else may have ended ours, and begun one of his own.
            self.captures = tuple(one for one in ended if one.files[-1] in newest) or self.captures
        return self.paths

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Capturing {', '.join(one.net for one in self.captures)}>"
