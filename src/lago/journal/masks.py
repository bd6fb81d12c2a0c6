"""Secrets that have no place in a journal, and how they are found in texts."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

MASK: Final = "***"
"""What stands in the place of a secret."""

_WORDS: Final = ("PASS", "TOKEN", "SECRET", "KEY")
"""Whatever is called so is one: variables, options."""

_LEAST: Final = 4
"""Characters of a password that is looked for; a shorter one is in every other word."""

_AROUND: Final = 64
"""Characters of a name before such a word, and after it."""

_WORD: Final = r"""(?:[^\s'"\\;&|()<>]+|\\.|'[^']*'|"(?:\\.|[^"\\])*"|['"].*)*"""
"""What is left of a word of a shell; a quotation that has no end reaches to that of the line."""

_USER: Final = r"(://[^\s/@:'\"]{0,256}:)[^\s/@'\"]{1,256}(?=@)"
"""The password in an address."""


class Masks:
    """Take secrets out of texts.

    Args:
        known: says which passwords there are; it is asked when the first text comes.
        more: names and regular expressions, as the setting `journal_mask` has them.
    """

    def __init__(self, known: Callable[[], Iterable[str]] = tuple, more: Iterable[str] = ()) -> None:
        self._known = known
        more = list(more)
        self._names = [one for one in more if re.fullmatch(r"\w+", one)]
        self._expressions = [one for one in more if one not in self._names]

    @functools.cached_property
    def _secrets(self) -> re.Pattern[str] | None:
        # The longest first: one may begin with another.
        found = sorted({one for one in self._known() if len(one) >= _LEAST}, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, found))) if found else None

    @functools.cached_property
    def _likely(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, [*_WORDS, *self._names, "://"])), re.IGNORECASE)

    @functools.cached_property
    def _named(self) -> re.Pattern[str]:
        words = "|".join(map(re.escape, [*_WORDS, *self._names]))
        return re.compile(rf"(?:{words})[\w.-]{{0,{_AROUND}}}(?P<between>=|\s+(?!-))", re.IGNORECASE)

    def __call__(self, text: str) -> str:
        """Return a text without the secrets that are found in it."""
        if self._secrets is not None:
            text = self._secrets.sub(MASK, text)
        if self._likely.search(text):
            text = re.sub(_USER, rf"\g<1>{MASK}", text)
            text = "".join(self._without_named(text))
        for expression in self._expressions:
            text = re.sub(expression, MASK, text)
        return text

    def _without_named(self, text: str) -> Iterator[str]:
        """Pieces of a text with masks for the values in `NAME=value` and `--name value`."""
        at = 0
        for found in self._named.finditer(text):
            if found.start() < at:
                continue
            name = re.search(r"[\w.-]*\Z", text[max(at, found.start() - _AROUND) : found.start()])
            begin = found.start() - len(name[0] if name else "")
            option = text.startswith("--", begin)
            end = _end(text, found.end(), text[begin - 1 : begin])
            if end > found.end() and (found["between"] == "=" or option):
                yield text[at : found.end()] + MASK
                at = end
        yield text[at:]


def _end(text: str, begin: int, before: str) -> int:
    """Where a value ends that begins somewhere; `before` is what stands before its name, maybe a quotation mark."""
    if before and before in "'\"":
        begin = text.find(before, begin)
        if begin < 0:
            return len(text)
        after = _word().match(text, begin + 1)
        return begin if after is None or not after[0] else after.end()
    found = _word().match(text, begin)
    return found.end() if found else begin


@functools.cache
def _word() -> re.Pattern[str]:
    return re.compile(_WORD)
