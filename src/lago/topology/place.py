"""Where the parts of a spec stand in the init file that it was read from."""

from __future__ import annotations

from typing import Final, NamedTuple

KeyPath = tuple[str | int, ...]
"""Keys and list indexes from the top of a file to a value."""


class Place(NamedTuple):
    """A place in an init file; `place / key` is the one below.

    Attributes:
        path: the way to it.
        keys: the keys that have a value there, of a mapping that was read.
    """

    path: KeyPath = ()
    keys: frozenset[str] = frozenset()

    def __truediv__(self, key: str | int) -> Place:
        return Place((*self.path, key))


NOWHERE: Final = Place()
"""The place of a spec that comes from no file."""
