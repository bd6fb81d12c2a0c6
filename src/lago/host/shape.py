"""JSON that somebody else may have written: how much of it is taken, and of which types it must be.

A reader takes a value of JSON and returns what it means, or raises ValueError that says where something else was
expected. Readers are put together: `listing(text())` reads a list of texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

T = TypeVar("T")

Read = Callable[[Any], T]

MOST: Final = 16 << 20
"""Characters of a document."""

_MOST_ENTRIES: Final = 100_000
_LONGEST: Final = 4096
_DEEPEST: Final = 64

CONTROL: Final = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
"""What a terminal or a file with lines would obey, for a set of characters in a pattern."""

LINE: Final = f"[^{CONTROL}]*"
"""Pattern of a text on one line."""


def parse(data: str, most: int = MOST) -> Any:
    """Read a JSON document.

    Args:
        most: characters that it may have.

    Raises:
        ValueError: it is none, is larger or deeper than any honest one, or has what JSON has not, such as NaN.
    """
    if len(data) > most:
        raise ValueError(f"it has more than {most >> 10} KiB")
    try:
        found = json.loads(data, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is too deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    if _is_deeper(found, _DEEPEST):
        raise ValueError("it is too deep")
    return found


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def _is_deeper(value: Any, levels: int) -> bool:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_is_deeper(one, levels - 1) for one in below)


def _expected(what: str, found: Any) -> ValueError:
    shown = json.dumps(found, skipkeys=True, default=str)
    return ValueError(f"expected {what}, found {shown if len(shown) <= 60 else f'{shown[:57]}...'}")


def text(pattern: str = LINE, what: str = "text on one line", longest: int = _LONGEST) -> Read[str]:
    """Return a reader of text.

    Args:
        pattern: of all of it.
        what: says what is expected.
        longest: characters that it may have.
    """

    def read(raw: Any) -> str:
        if not isinstance(raw, str) or len(raw) > longest or re.fullmatch(pattern, raw, re.DOTALL) is None:
            raise _expected(what, raw)
        return raw

    return read


def flag(raw: Any) -> bool:
    """Read a truth value."""
    if not isinstance(raw, bool):
        raise _expected("true or false", raw)
    return raw


def whole(raw: Any) -> int:
    """Read a whole number that is not below 0."""
    if not isinstance(raw, int) or isinstance(raw, bool) or not 0 <= raw < 1 << 63:
        raise _expected("a whole number", raw)
    return raw


def number(raw: Any) -> float:
    """Read a number."""
    if not isinstance(raw, int | float) or isinstance(raw, bool) or not abs(raw) <= 1 << 63:
        raise _expected("a number", raw)
    return float(raw)


def optional(read: Read[T]) -> Read[T | None]:
    """Return a reader of null too, which is None."""
    return lambda raw: None if raw is None else read(raw)


def listing(read: Read[T]) -> Read[list[T]]:
    """Return a reader of lists of what `read` reads."""

    def read_all(raw: Any) -> list[T]:
        if not isinstance(raw, list) or len(raw) > _MOST_ENTRIES:
            raise _expected("a list", raw)
        return [_within(index, read, one) for index, one in enumerate(raw)]

    return read_all


def mapping(key: Read[str], read: Read[T]) -> Read[dict[str, T]]:
    """Return a reader of objects whose keys are names.

    Args:
        key: reads a name.
        read: reads what has a name.
    """

    def read_all(raw: Any) -> dict[str, T]:
        if not isinstance(raw, dict) or len(raw) > _MOST_ENTRIES:
            raise _expected("an object", raw)
        return {key(name): _within(name, read, one) for name, one in raw.items()}

    return read_all


def record(needed: Mapping[str, Read[Any]], others: Mapping[str, Read[Any]] | None = None) -> Read[dict[str, Any]]:
    """Return a reader of objects with the members that are known; unknown ones are left out.

    Args:
        needed: what reads each member that must be there.
        others: what reads each of those that need not.
    """

    def read_all(raw: Any) -> dict[str, Any]:
        if not isinstance(raw, dict):
            raise _expected("an object", raw)
        if missing := [name for name in needed if name not in raw]:
            raise ValueError(f"it has no member `{missing[0]}`")
        known = {**needed, **(others or {})}
        return {name: _within(name, read, raw[name]) for name, read in known.items() if name in raw}

    return read_all


def _within(name: str | int, read: Read[T], raw: Any) -> T:
    try:
        return read(raw)
    except ValueError as error:
        what = str(error)
        place = f"[{name}]" if isinstance(name, int) else str(name)[:100]
        raise ValueError(f"{place}: {what}" if what.startswith(("expected ", "it ")) else f"{place}.{what}") from None
