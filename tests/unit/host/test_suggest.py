"""What somebody may have meant."""

from __future__ import annotations

from lago.host.suggest import near


def test_the_nearest_name_is_suggested_in_whatever_case_it_was_written() -> None:
    assert near("VM0", ["other", "vm0"]) == "did you mean vm0?"
    assert near("Memry", ["memory", "vcpu"]) == "did you mean memory?"


def test_without_a_near_name_there_are_all() -> None:
    assert near("x", ["one", "two"]) == "there are: one, two"
    assert near("x", []) == "there are: none"


def test_of_many_names_some_are_told_in_the_words_of_the_caller() -> None:
    assert near("x", ["one", "two", "three"], otherwise="expected ", most=2, rest="more") == "expected one, two, more"
    assert near("x", ["one", "two"], otherwise="expected ", most=2, spell=repr) == "expected 'one', 'two'"
