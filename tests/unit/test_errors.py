"""The tree of errors in the documentation of `lago.errors`, and in that of `ovirtlago.errors`, is the one there is."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from types import ModuleType

import pytest

import ovirtlago.errors
from lago import errors

LINE = re.compile(r"^([ │├└─]*)(?:\w+\.)*([A-Z]\w+)(?: {2,}.*)?$", re.MULTILINE)
"""A line of a tree: what is drawn before a name, and the name, without its module."""


def there(module: ModuleType, base: type[BaseException]) -> set[tuple[str, str]]:
    """Each class of a module that is derived from another one, directly or not, and the name of its parent."""
    direct = {one for one in base.__subclasses__() if one.__module__ == module.__name__}
    return {(one.__name__, base.__name__) for one in direct}.union(*(there(module, one) for one in direct))


def drawn(text: str) -> Iterator[tuple[str, str]]:
    """The same, as it is drawn."""
    lines = LINE.findall(text)
    above: list[str] = []
    for before, name in lines:
        depth = (len(before) - len(lines[0][0])) // 4
        above[depth:] = [name]
        yield from [(name, above[depth - 1])] if depth else []


@pytest.mark.parametrize("module", [errors, ovirtlago.errors], ids=lambda module: module.__name__)
def test_every_error_has_its_place_in_the_tree(module: ModuleType) -> None:
    assert set(drawn(module.__doc__ or "")) == there(module, errors.LagoError)


def test_a_full_disk_is_nobodys_mistake_also_where_it_stopped_one_of_several() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "b")
    assert errors.Errors("copy", [errors.LagoError("a"), full]).exit_code == errors.LagoError("a").exit_code
    assert errors.Errors("copy", [errors.LagoError("a"), ValueError("b")]).exit_code == 1
