"""Which prefix is meant: by the working directory, by paths, by names."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from lago.environment.prefix import Prefix
from lago.environment.workdir import Workdir, find_prefix, find_workdir, is_prefix
from lago.errors import PrefixError


def prefix_at(path: Path, marker: str = "initialized") -> Path:
    path.mkdir(parents=True)
    (path / marker).touch()
    (path / "uuid").write_text("0" * 32)
    return path


def workdir_at(path: Path, *names: str, current: str | None = None) -> Workdir:
    for name in names:
        prefix_at(path / name)
    if current is not None:
        (path / "current").symlink_to(current)
    return Workdir(str(path))


def place_of(prefix: Prefix) -> str:
    return prefix.paths.prefix()


def test_a_marker_makes_a_prefix(tmp_path: Path) -> None:
    assert is_prefix(str(prefix_at(tmp_path / "new")))
    assert is_prefix(str(prefix_at(tmp_path / "old", ".lago")))
    (tmp_path / "home" / ".lago").mkdir(parents=True)
    assert not is_prefix(str(tmp_path / "home"))
    assert not is_prefix(str(tmp_path / "none"))


def test_current_is_what_the_link_says(tmp_path: Path) -> None:
    assert workdir_at(tmp_path, "a", "b", "default", current="b").current() == "b"


def test_where_none_was_ever_chosen_it_is_default_or_the_only_one(tmp_path: Path) -> None:
    assert workdir_at(tmp_path / "1", "a", "default", "z").current() == "default"
    assert workdir_at(tmp_path / "2", "a").current() == "a"
    with pytest.raises(PrefixError, match=f"{tmp_path}/3 has no current environment") as caught:
        workdir_at(tmp_path / "3", "a", "b").current()
    assert caught.value.details == "there are: a, b"


@pytest.mark.parametrize(("current", "name"), [("gone", "gone"), ("/somewhere/else", "else")])
@pytest.mark.parametrize("others", [["default"], ["a", "default", "z"], ["a"]])
def test_no_other_takes_the_place_of_a_current_one_that_is_gone(
    tmp_path: Path, current: str, name: str, others: list[str]
) -> None:
    workdir = workdir_at(tmp_path, *others, current=current)
    for ask in (workdir.current, workdir.get_prefix, workdir.doomed):
        with pytest.raises(PrefixError, match=f"the current environment, {name}, is gone") as caught:
            ask()
        assert caught.value.details == f"there are: {', '.join(others)}"
        assert "lago -P NAME" in caught.value.hint
        assert "lago set-current NAME" in caught.value.hint
    assert place_of(workdir.get_prefix(others[0])) == str(tmp_path / others[0])


def test_asking_for_current_changes_nothing(tmp_path: Path) -> None:
    workdir = workdir_at(tmp_path, "a", "default", current="gone")
    for ask in (workdir.current, workdir.get_prefix):
        with pytest.raises(PrefixError):
            ask()
    assert os.readlink(tmp_path / "current") == "gone"


def test_current_can_be_set_also_in_place_of_a_broken_link(tmp_path: Path) -> None:
    workdir = workdir_at(tmp_path, "a", "b", current="gone")
    workdir.set_current("a")
    assert os.readlink(tmp_path / "current") == "a"
    with pytest.raises(PrefixError, match="has no prefix c"):
        workdir.set_current("c")
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "current"]


def test_prefixes_are_listed_in_order_without_anything_else(tmp_path: Path) -> None:
    workdir = workdir_at(tmp_path, "b", "a", ".lago-unfinished-1", current="a")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert workdir.prefixes() == ["a", "b"]


def test_an_unknown_name_is_told_with_the_nearest(tmp_path: Path) -> None:
    workdir = workdir_at(tmp_path, "default", "staging", current="default")
    with pytest.raises(PrefixError) as caught:
        workdir.get_prefix("stagign")
    assert caught.value.hint == "did you mean staging?"
    with pytest.raises(PrefixError) as caught:
        workdir.get_prefix("x")
    assert caught.value.hint == "there are: default, staging"


def test_a_workdir_without_prefixes_says_so(tmp_path: Path) -> None:
    with pytest.raises(PrefixError, match="holds no prefix"):
        workdir_at(tmp_path, current="default").current()
    (tmp_path / ".lago-unfinished-1").mkdir()
    with pytest.raises(PrefixError, match="interrupted"):
        Workdir(str(tmp_path)).current()


@pytest.mark.parametrize("name", ["current", "", ".", "..", ".hidden", "a/b"])
def test_some_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PrefixError, match="can't be the name of a prefix"):
        Workdir(str(tmp_path / "w")).add_prefix(name, "LagoInitFile")
    assert not (tmp_path / "w").exists()


def test_a_workdir_is_found_itself_below_and_above(tmp_path: Path) -> None:
    workdir_at(tmp_path / ".lago", "default", current="default")
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    for start in (tmp_path / ".lago", tmp_path, deep):
        assert find_workdir(str(start)).path == str(tmp_path / ".lago")
    workdir_at(tmp_path / "a" / ".lago", "default", current="default")
    assert find_workdir(str(deep)).path == str(tmp_path / "a" / ".lago")


def test_a_directory_with_prefixes_but_no_link_comes_last(tmp_path: Path) -> None:
    workdir_at(tmp_path / "w", "a")
    assert find_workdir(str(tmp_path / "w")).path == str(tmp_path / "w")
    workdir_at(tmp_path / ".lago", "default")
    assert find_workdir(str(tmp_path)).path == str(tmp_path / ".lago")
    assert find_workdir(str(tmp_path / "w")).path == str(tmp_path / ".lago")


def test_a_configuration_file_called_like_a_workdir_is_none(tmp_path: Path) -> None:
    (tmp_path / ".lago").write_text("[lago]\n")
    with pytest.raises(PrefixError, match=f"no environment in {re.escape(str(tmp_path))} or any directory above"):
        find_workdir(str(tmp_path))


def test_the_working_directory_says_which_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workdir_at(tmp_path / ".lago", "a", "b", current="b")
    monkeypatch.chdir(tmp_path)
    assert place_of(find_prefix(None, None, "current")) == str(tmp_path / ".lago" / "b")
    assert place_of(find_prefix(None, None, "a")) == str(tmp_path / ".lago" / "a")
    # In a prefix it is that prefix, whatever is current.
    monkeypatch.chdir(tmp_path / ".lago" / "a")
    assert place_of(find_prefix(None, None, "current")) == str(tmp_path / ".lago" / "a")


def test_paths_win_over_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workdir_at(tmp_path / ".lago", "a", current="a")
    other = workdir_at(tmp_path / "other", "x", "y", current="y")
    alone = prefix_at(tmp_path / "alone")
    monkeypatch.chdir(tmp_path / ".lago" / "a")
    assert place_of(find_prefix(None, other.path, "current")) == other.join("y")
    assert place_of(find_prefix(None, other.path, "x")) == other.join("x")
    assert place_of(find_prefix(str(alone), None, "current")) == str(alone)
    assert place_of(find_prefix("../../alone", other.path, "current")) == str(alone)


def test_what_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PrefixError, match="is not a prefix") as caught:
        find_prefix("nothing", None, "current")
    assert caught.value.hint == "lago init makes one"
    with pytest.raises(PrefixError, match="no environment") as caught:
        find_prefix(None, str(tmp_path / "nothing"), "current")
    assert "--workdir-path" in caught.value.hint


def test_destroying_no_names_destroys_nothing(tmp_path: Path) -> None:
    workdir = workdir_at(tmp_path, "a", "b", current="a")
    workdir.destroy([])
    assert workdir.prefixes() == ["a", "b"]


def test_what_an_interrupted_choice_left_does_not_keep_an_empty_workdir(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    workdir = workdir_at(tmp_path / "w", current="gone")
    (tmp_path / "w" / ".current.123").symlink_to("gone")
    workdir.destroy([])
    assert not (tmp_path / "w").exists()


def test_the_current_prefix_destroyed_makes_no_other_the_current_one(tmp_path: Path) -> None:
    workdir = workdir_at(tmp_path / "w", "a", "b", current="a")
    for name in ("a", "b"):
        for directory in ("logs", "virt"):
            (tmp_path / "w" / name / directory).mkdir()
    workdir.destroy(["a"])
    assert workdir.prefixes() == ["b"]
    with pytest.raises(PrefixError, match="the current environment, a, is gone"):
        workdir.current()
    workdir.set_current("b")
    assert (workdir.current(), os.readlink(tmp_path / "w" / "current")) == ("b", "b")
    workdir.destroy(["b"])
    assert not (tmp_path / "w").exists()


def test_another_prefix_destroyed_leaves_the_current_one_as_it_is(tmp_path: Path) -> None:
    workdir = workdir_at(tmp_path / "w", "a", "b", current="b")
    for directory in ("logs", "virt"):
        (tmp_path / "w" / "a" / directory).mkdir()
    workdir.destroy(["a"])
    assert (workdir.prefixes(), workdir.current()) == (["b"], "b")


def test_a_workdir_below_is_told_also_when_its_current_prefix_is_gone(tmp_path: Path) -> None:
    workdir_at(tmp_path / "w", "a", current="gone")
    with pytest.raises(PrefixError, match="there is no environment") as caught:
        find_workdir(str(tmp_path))
    assert caught.value.hint == "lago --workdir-path w"


def test_a_workdir_with_something_else_in_it_stays(tmp_path: Path) -> None:
    workdir = workdir_at(tmp_path / "w", "a", current="a")
    for directory in ("logs", "virt"):
        (tmp_path / "w" / "a" / directory).mkdir()
    (tmp_path / "w" / "notes").touch()
    workdir.destroy(["a"])
    assert "notes" in os.listdir(tmp_path / "w")


def test_hints_quote_names_for_a_shell(tmp_path: Path) -> None:
    name = "it's a test"
    workdir = workdir_at(tmp_path / "w", name)
    (tmp_path / "w" / name / "uuid").write_text("8" * 32)
    (tmp_path / "w" / name / "initialized").unlink()
    with pytest.raises(PrefixError, match="was cleaned up") as raised:
        workdir.get_prefix(name)
    assert shlex.split(raised.value.hint) == ["lago", "--prefix-name", name, "destroy", "removes", "it"]
    with pytest.raises(PrefixError, match="holds no prefix") as raised:
        workdir.current()
    assert shlex.split(raised.value.hint.partition(", or ")[2]) == ["lago", "-P", name, "destroy"]
