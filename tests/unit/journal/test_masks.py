"""Secrets stay out of journals, and other words in them."""

from __future__ import annotations

import time

import pytest

from lago.journal.masks import Masks


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("PASSWORD=abc run", "PASSWORD=*** run"),
        ("export my_token=abc; ls", "export my_token=***; ls"),
        ("A=1 API_KEY='a b' B=2", "A=1 API_KEY=*** B=2"),
        ('CLIENT_SECRET="a \\" b" B=2', "CLIENT_SECRET=*** B=2"),
        ("env 'TOKEN=a b' run", "env 'TOKEN=***' run"),
        # As the standard library quotes a word with a quotation mark in it.
        ("""env 'TOKEN=a'"'"'b c' run""", "env 'TOKEN=*** run"),
        ("tool --password abc -v", "tool --password *** -v"),
        ("tool --password=abc -v", "tool --password=*** -v"),
        ("tool --db-password 'a b' -v", "tool --db-password *** -v"),
        ("tool --password -v", "tool --password -v"),
        ("curl https://me:secret1@host/path", "curl https://me:***@host/path"),
        ("TOKEN='never ends", "TOKEN=***"),
        ("a\\ b TOKEN=a\\ b c", "a\\ b TOKEN=*** c"),
        ("login hunter22 and hunter2222", "login *** and ***"),
        ("cat /etc/passwd; keyboard us; the password is: ask", "cat /etc/passwd; keyboard us; the password is: ask"),
        ("echo hello", "echo hello"),
        ("PASSWORD= next", "PASSWORD= next"),
    ],
)
def test_secrets_are_masked(text: str, masked: str) -> None:
    assert Masks(lambda: ["hunter22", "hunter2222", "a"])(text) == masked


def test_names_and_expressions_of_the_setting_are_masked_too() -> None:
    masks = Masks(more=["PIN", r"\b\d{4}-\d{4}\b"])
    assert masks("MY_PIN=1 --pin 2 card 1234-5678 TOKEN=x") == "MY_PIN=*** --pin *** card *** TOKEN=***"


@pytest.mark.parametrize(
    "text",
    [
        "key" * 5000,
        "key=" * 5000,
        "'key='" * 3000,
        'key="' * 4000,
        "a" * 20000,
        "://" * 6000,
        "--key " * 3000,
        "-" * 20000,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    masks = Masks(lambda: ["hunter22"])
    masks("key=a")
    began = time.process_time()
    masks(text)
    # What grows with the square takes minutes.
    assert time.process_time() - began < 10
