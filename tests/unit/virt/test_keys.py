"""Keys by name, and texts as keys."""

from __future__ import annotations

import string

import pytest

from lago.errors import VMError
from lago.virt.keys import strokes

SHIFT = 42


@pytest.mark.parametrize(
    ("keys", "codes"),
    [
        ("ctrl-alt-delete", [[29, 56, 111]]),
        ("ret", [[28]]),
        ("alt-f12", [[56, 88]]),
        ("ctrl-c", [[29, 46]]),
        ("a", [[30]]),
        ("up", [[103]]),
        ("Up", [[SHIFT, 22], [25]]),
        ("ls -l\n", [[38], [31], [57], [12], [38], [28]]),
        ("-", [[12]]),
        ("a-b", [[30], [12], [48]]),
        ("%", [[SHIFT, 6]]),
        ("", []),
    ],
)
def test_names_and_texts(keys: str, codes: list[list[int]]) -> None:
    assert strokes(keys) == codes


def test_every_printable_character_has_a_key_of_its_own() -> None:
    characters = string.ascii_letters + string.digits + string.punctuation + " \n\t"
    found = {tuple(stroke) for character in characters for stroke in strokes(character)}
    assert len(found) == len(characters)


def test_what_is_on_no_key_is_refused() -> None:
    with pytest.raises(VMError) as caught:
        strokes("ctrl-alt-del")
    assert (caught.value.what, caught.value.hint) == ("there is no key del", "did you mean delete?")
    with pytest.raises(VMError, match="no key for the character 'ü'"):
        strokes("grün")
