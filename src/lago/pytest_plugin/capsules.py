"""Capsules of failed tests: what is kept of their environments, and what is said of it at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ..environment.prefix import Prefix
from ..errors import LagoError, printable
from ..log import LOG


class Kept(NamedTuple):
    """What came of the capsule of a test.

    Attributes:
        name: of the capsule; empty if there is none.
        why: there is none, then.
    """

    test: str
    name: str = ""
    why: str = ""


def make(test: str, environments: Mapping[str, Prefix]) -> Kept:
    """Keep environments at the instant at which a test failed; that this can't be done is no other failure."""
    from ..environment.capsule import making

    try:
        return Kept(test, making.make(test, environments))
    except Exception as error:
        LOG.debug("no capsule of %s", test, exc_info=True)
        why = error.render() if isinstance(error, LagoError) else f"{type(error).__name__}: {error}"
        return Kept(test, why=why)


def lines(kept: Iterable[Kept]) -> Iterator[str]:
    """What the summary says of them: the command that opens each, or why there is none."""
    from ..environment.capsule import shelf

    there: set[str] = set()
    # Whatever is wrong with the place, the run ends as it would.
    with contextlib.suppress(OSError):
        there |= set(shelf.names())
    for one in kept:
        yield printable(one.test)
        if one.name in there:
            yield f"    lago capsule open {one.name}"
        elif one.name:
            yield f"    {one.name} has gone already, as there is no room for all: setting capsule_limit"
        else:
            yield "    there is no capsule of it:"
            yield from (f"    {line}" for line in printable(one.why).splitlines())
