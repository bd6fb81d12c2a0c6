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


OTHERWISE = {"verb": "command"}
"""Words that were used for a thing once, and the one that it has. In quotation marks one is a word of a file's form."""


def test_nothing_is_called_by_another_word() -> None:
    texts = [
        *(path for name in ("src", "examples", "tools") for path in (REPOSITORY / name).rglob("*.py")),
        *(path for path in (REPOSITORY / "docs").rglob("*.md") if path.stem != "changelog"),
        *REPOSITORY.glob("*.md"),
    ]
    words = re.compile(rf"""(?<!["`])\b({"|".join(OTHERWISE)})s?\b(?!["`])""", re.IGNORECASE)
    assert len(texts) > 200
    assert not [path for path in texts if path.name != "CHANGELOG.md" and words.search(path.read_text())]
