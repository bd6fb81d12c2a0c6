"""Text to plain data with positions."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from lago.errors import InitFileError
from lago.initfile import document as documents
from lago.initfile.document import Position, loads


def refusal(text: str) -> str:
    with pytest.raises(InitFileError) as caught:
        loads(text, "F")
    return caught.value.what


def test_every_key_and_value_has_a_position() -> None:
    document = loads("a:\n  - b: [1, 2]\n  - é: {ü: x, z: y}\n", "F")
    assert document.keys["a",] == (1, 1)
    assert document.position(("a", 0, "b", 1)) == (2, 12)
    assert document.position(("a", 1, "é", "z")) == (3, 18)
    assert document.position(("a", 1, "é", "z"), of_key=True) == (3, 15)


def test_a_place_that_is_not_there_has_the_position_of_the_nearest_above() -> None:
    assert loads("a:\n  b: {c: 1}\n", "F").position(("a", "b", "d", 0)) == (2, 6)


def test_a_value_that_is_nothing_is_where_its_key_is() -> None:
    assert loads("a:\n  b:\nc: 1\n", "F").position(("a", "b")) == (2, 3)


def test_json_may_be_indented_by_tabs_and_positions_stay() -> None:
    document = loads('{\n\t"a\\tb": "\\ud83d\\ude00 \\\\ud83d",\t"c":\t[1,2.5,true,null]\n}', "F")
    assert document.data == {"a\tb": "\U0001f600 \\ud83d", "c": [1, 2.5, True, None]}
    assert loads('{\n\t"a": 1,\n\t"b":\t2}', "F").position(("b",)) == (3, 7)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("Off", False),
        ("~", None),
        ("", None),
        ("-12", -12),
        ("1.10", 1.1),
        ("1e3", 1000.0),
        ("010", "010"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("!!int 12", 12),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_scalars(text: str, value: object) -> None:
    found = loads(f"a: {text}\n", "F").data["a"]
    assert (type(found), found) == (type(value), value)


def test_the_spelling_of_a_number_is_kept() -> None:
    assert loads("a: 1.10\n", "F").sources["a",] == "1.10"


def test_keys_are_text_however_they_look() -> None:
    assert loads("{1: a, on: b, 2024-01-01: c}", "F").data == {"1": "a", "on": "b", "2024-01-01": "c"}


def test_anchors_give_separate_copies() -> None:
    data = loads("a: &x [1]\nb: *x\n", "F").data
    assert data["b"] == [1]
    assert data["a"] is not data["b"]


def test_merge_keys_yield_to_own_keys_and_the_first_merged_wins() -> None:
    text = "x: &x {a: 1, b: 1, c: 1}\ny: &y {b: 2, c: 2, d: 2}\nz: {<<: [*y, *x], c: 3}\n"
    assert loads(text, "F").data["z"] == {"a": 1, "b": 2, "c": 3, "d": 2}


def test_merged_values_are_where_they_are_written() -> None:
    document = loads("x: &x\n  a: 1\nz:\n  <<: *x\n", "F")
    assert document.position(("z", "a")) == Position(2, 6)


def test_a_duplicate_key_is_a_mistake_told_once_per_mistake() -> None:
    document = loads("x: &x {a: 1, a: 2}\ny: *x\nz: *x\n", "F")
    assert [document.line(mistake) for mistake in document.mistakes] == [
        "F:1:14: x.a: this key is there already, on line 1; remove one of them"
    ]


def test_a_byte_order_mark_is_skipped() -> None:
    assert loads("\ufeffa: 1", "F").data == {"a": 1}


@pytest.mark.parametrize("character", ["\x07", "\x7f", "\x80", "\x9b", "\x9f", "\ufffe", "\ud800"])
def test_control_characters_are_refused_where_they_stand(character: str) -> None:
    assert refusal(f"# one\na: b{character}") == f"F:2:5: the character U+{ord(character):04X} can't be in an init file"


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "{? "])
def test_deep_nesting_is_refused_quickly(opening: str) -> None:
    began = time.monotonic()
    assert "nested more than 64 levels deep" in refusal(opening * 200_000)
    assert time.monotonic() - began < 50


def test_an_anchor_inside_itself_is_refused() -> None:
    assert "*a stands for nothing" in refusal("a: &a [*a]")


def test_merges_that_multiply_are_refused() -> None:
    lines = ["a0: &a0 {x: 1}"] + [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 15)]
    assert "200000" in refusal("\n".join(lines))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InitFileError, match=r"nowhere: there is no such file") as caught:
        documents.read(str(tmp_path / "nowhere"))
    assert caught.value.hint


def test_a_directory_is_no_init_file(tmp_path: Path) -> None:
    with pytest.raises(InitFileError, match="this is a directory"):
        documents.read(str(tmp_path))


def test_a_path_below_a_file_is_an_init_file_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InitFileError, match="can't be read: Not a directory"):
        documents.read(str(tmp_path / "file" / "LagoInitFile"))


@pytest.mark.programs
def test_loading_a_prefix_needs_no_yaml() -> None:
    program = (
        "import sys, lago.topology.state; sys.exit('yaml' in sys.modules or 'lago.initfile.values' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
