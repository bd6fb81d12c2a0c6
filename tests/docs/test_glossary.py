"""The glossary: few words, in order, each of them once."""

from __future__ import annotations

import re

from ..users import REPOSITORY

PAGE = REPOSITORY / "docs" / "reference" / "glossary.md"
MOST = 15


def test_the_glossary_has_few_words_in_order_and_each_is_explained_once() -> None:
    words = re.findall(r"^(\S.*)\n: \S", PAGE.read_text(), re.MULTILINE)
    assert 10 <= len(words) <= MOST
    assert words == sorted(set(words))
