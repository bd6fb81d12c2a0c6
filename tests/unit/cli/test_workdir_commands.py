"""Workdirs, prefixes, and how the one meant is found."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lago.environment.prefix import Prefix
from lago.environment.workdir import Workdir, find_prefix, find_workdir
from lago.errors import LockTimeout, PrefixError
from lago.host.locks import lock_file

from ..conftest import Lago, make_prefix

EMPTY = "domains: {vm0: {disks: [{type: empty, size: 1G, format: qcow2}], nics: [{net: lan}]}}\nnets: {lan: {}}\n"


class Typed(io.StringIO):
    """What a person types on a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """A workdir with the prefixes `default`, which is current, and `other`."""
    path = tmp_path / ".lago"
    make_prefix(path / "default")
    make_prefix(path / "other")
    path.joinpath("current").symlink_to("default")
    return path


def _tree(path: Path) -> list[tuple[str, int]]:
    return sorted((str(p), p.lstat().st_mtime_ns) for p in [path, *path.rglob("*")])


class TestFinding:
    def test_a_workdir_is_found_from_below_it_and_from_inside(self, workdir: Path) -> None:
        deep = workdir.parent / "a" / "b"
        deep.mkdir(parents=True)
        for start in (workdir, workdir.parent, deep):
            assert find_workdir(str(start)).path == str(workdir)

    def test_a_prefix_is_found_by_its_name_or_as_the_current_one(self, workdir: Path) -> None:
        assert find_prefix(None, str(workdir), "current").paths.prefix() == str(workdir / "default")
        assert find_prefix(None, str(workdir), "other").paths.prefix() == str(workdir / "other")
        with pytest.raises(PrefixError) as raised:
            find_prefix(None, str(workdir), "othe")
        assert raised.value.hint == "did you mean other?"

    def test_the_working_directory_may_be_a_prefix(self, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(workdir / "other")
        assert find_prefix(None, None, "current").paths.prefix() == str(workdir / "other")
        assert find_prefix("auto", None, "current").paths.prefix() == str(workdir / "other")
        assert find_prefix(None, str(workdir), "current").paths.prefix() == str(workdir / "default")

    def test_a_prefix_may_be_dot_lago_itself_in_a_directory_above(self, tmp_path: Path) -> None:
        make_prefix(tmp_path / ".lago")
        tmp_path.joinpath("a").mkdir()
        assert find_prefix(str(tmp_path / "a"), None, "current").paths.prefix() == str(tmp_path / ".lago")
        with pytest.raises(PrefixError, match="is not a prefix"):
            find_prefix("/", None, "current")

    def test_when_there_is_none_those_near_by_are_listed(self, tmp_path: Path) -> None:
        for name in ("one", "two/.lago"):
            make_prefix(tmp_path / name / "default")
            tmp_path.joinpath(name, "current").symlink_to("default")
        tmp_path.joinpath("three").mkdir()
        with pytest.raises(PrefixError) as raised:
            find_workdir(str(tmp_path))
        assert str(tmp_path) in raised.value.what
        assert raised.value.details.splitlines() == ["below it there are:", "one", "two/.lago"]
        assert raised.value.hint == "lago --workdir-path one"

    def test_a_workdir_without_its_link_is_still_one_but_nothing_else_may_stand_there(self, workdir: Path) -> None:
        workdir.joinpath("current").unlink()
        assert find_workdir(str(workdir.parent)).current() == "default"
        workdir.joinpath("current").mkdir()
        for start in (workdir, workdir.parent):
            with pytest.raises(PrefixError, match="is malformed: current is no link") as raised:
                find_workdir(str(start))
            assert raised.value.hint == f"move {workdir}/current away; lago set-current makes the link"

    def test_d48_looking_changes_nothing(self, workdir: Path) -> None:
        workdir.joinpath("current").unlink()
        workdir.joinpath("current").symlink_to("gone")
        before = _tree(workdir)
        found = find_workdir(str(workdir.parent))
        assert (found.exists(), found.prefixes(), found.chosen()) == (True, ["default", "other"], "gone")
        assert _tree(workdir) == before

    @pytest.mark.parametrize("lines", ["[lago]\nlog_level = debug\n", ""])
    def test_d16_a_configuration_file_named_dot_lago_makes_no_prefix_of_a_home(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str
    ) -> None:
        tmp_path.joinpath(".lago").write_text(lines)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(PrefixError, match="there is no environment in"):
            find_prefix(None, None, "current")
        with pytest.raises(PrefixError, match="is not a prefix"):
            find_prefix(str(tmp_path), None, "current")

    def test_a_prefix_of_a_release_before_0_10_is_known_by_its_marker(self, tmp_path: Path) -> None:
        make_prefix(tmp_path / "old")
        tmp_path.joinpath("old", "initialized").rename(tmp_path / "old" / ".lago")
        assert find_prefix(str(tmp_path / "old"), None, "current").uuid == "5" * 32


class TestCommands:
    def test_the_current_prefix_is_chosen(self, lago: Lago, workdir: Path) -> None:
        lago("set-current", "other")
        assert os.readlink(workdir / "current") == "other"
        _, err = lago.both("set-current", "nowhere", code=2)
        assert "has no prefix nowhere" in err

    def test_d43_set_current_is_for_the_workdir_that_is_named_whatever_the_prefix(
        self, lago: Lago, workdir: Path, tmp_path: Path
    ) -> None:
        make_prefix(tmp_path / "w" / "a")
        make_prefix(tmp_path / "w" / "b")
        tmp_path.joinpath("w", "current").symlink_to("a")
        lago("-P", "a", "-w", str(tmp_path / "w"), "set-current", "b")
        assert os.readlink(tmp_path / "w" / "current") == "b"
        assert os.readlink(workdir / "current") == "default"

    def test_d43_list_is_for_the_workdir_that_is_named(self, lago: Lago, workdir: Path, tmp_path: Path) -> None:
        make_prefix(tmp_path / "w" / "a")
        tmp_path.joinpath("w", "current").symlink_to("a")
        assert lago("list") == "default\nother\n"
        assert lago("-w", str(tmp_path / "w"), "list") == "a\n"
        assert lago("-w", str(workdir), "list", str(tmp_path / "w")) == "a\n"
        assert lago("--workdir", str(tmp_path / "w"), "list") == "a\n"

    def test_the_environment_names_the_workdir_and_the_prefix(
        self, lago: Lago, workdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = make_prefix(tmp_path / "elsewhere")
        monkeypatch.setenv("LAGO_WORKDIR_PATH", str(workdir))
        tmp_path.joinpath("x").mkdir()
        monkeypatch.chdir("/")
        assert f"Base directory: {workdir}/default\n" in lago("status")
        monkeypatch.setenv("LAGO_PREFIX_NAME", "other")
        assert f"Base directory: {workdir}/other\n" in lago("status")
        monkeypatch.setenv("LAGO_PREFIX_PATH", str(other))
        assert f"Base directory: {other}\n" in lago("status")
        assert f"Base directory: {workdir}/other\n" in lago("-w", str(workdir), "status")

    def test_cleanup_stops_keeps_files_and_uuid_and_says_so(self, lago: Lago, workdir: Path) -> None:
        out, err = lago.both("cleanup")
        assert "Stop prefix" in err
        assert out == ""
        assert (workdir / "default" / "uuid").read_text() == "5" * 32
        assert not (workdir / "default" / "initialized").exists()
        assert lago("list") == "other\n"
        _, err = lago.both("-P", "default", "status", code=2)
        assert "default was cleaned up" in err

    def test_what_cleanup_left_is_destroyed(self, lago: Lago, workdir: Path) -> None:
        lago("cleanup")
        lago("-P", "default", "destroy", "--yes")
        assert not (workdir / "default").exists()
        lago("set-current", "other")
        lago("cleanup")
        _, err = lago.both("status", code=2)
        assert "holds no prefix, other was cleaned up" in err
        lago("destroy", "-y")
        assert not workdir.exists()

    def test_after_a_destroy_or_a_cleanup_commands_ask_for_a_name(self, lago: Lago, workdir: Path) -> None:
        make_prefix(workdir / "third")
        _, err = lago.both("destroy", "--yes")
        assert "@ no environment is the current one now; there are: other, third\n" in err
        for command in (
            "status",
            "stop",
            "start",
            "cleanup",
            "destroy --yes",
            "shell vm0 true",
            "snapshot x",
            "fork y",
        ):
            out, err = lago.both(*command.split(), code=2)
            assert out == ""
            assert err.startswith(
                "lago: the current environment, default, is gone\n    there are: other, third\nhint: "
            )
            assert "lago -P NAME before the command" in err
            assert "lago set-current NAME" in err
        assert lago("list") == "other\nthird\n"
        lago("-P", "other", "cleanup")
        # With one of its kind left it is still not the one that was meant.
        _, err = lago.both("destroy", "--yes", code=2)
        assert "    there are: third, other (cleaned up)\n" in err
        lago("set-current", "third")
        lago("destroy", "--yes")
        _, err = lago.both("status", code=2)
        assert err.endswith("holds no prefix, other was cleaned up\nhint: lago init, or lago -P other destroy\n")
        lago.both("destroy", "--yes", code=2)
        lago("-P", "other", "destroy", "--yes")
        assert not workdir.exists()

    def test_what_cleanup_left_of_the_current_prefix_is_what_destroy_means(self, lago: Lago, workdir: Path) -> None:
        lago("cleanup")
        _, err = lago.both("status", code=2)
        assert err.startswith("lago: the current environment, default, was cleaned up\n")
        assert "    there are: other, default (cleaned up)\n" in err
        lago("destroy", "--yes")
        assert lago("list") == "other\n"
        assert not (workdir / "default").exists()
        lago.both("destroy", "--yes", code=2)
        assert (workdir / "other" / "uuid").exists()

    @pytest.mark.parametrize("answer", ["", "n\n", "no\n", "\n", "default\n", "q\n"])
    def test_without_a_clear_yes_nothing_is_destroyed(
        self, lago: Lago, workdir: Path, answer: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stdin", Typed(answer))
        out, err = lago.both("destroy", code=1)
        assert out == ""
        assert err.startswith("Destroy default? [y/N] ")
        assert err.endswith("lago: nothing was destroyed\n")
        assert lago("list") == "default\nother\n"
        monkeypatch.setattr("sys.stdin", Typed(answer))
        _, err = lago.both("--prefix-path", str(workdir / "other"), "destroy", code=1)
        assert err.startswith(f"Destroy {workdir}/other? [y/N] ")
        monkeypatch.setattr("sys.stdin", Typed(answer))
        _, err = lago.both("destroy", "--all-prefixes", code=1)
        assert err.startswith("Destroy default, other? [y/N] ")
        assert lago("list") == "default\nother\n"

    @pytest.mark.parametrize("answer", ["y\n", "yes\n", " Y \n", "YES"])
    def test_a_clear_yes_destroys(
        self, lago: Lago, workdir: Path, answer: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stdin", Typed(answer))
        lago("destroy")
        assert Workdir(str(workdir)).prefixes() == ["other"]

    def test_destroy_asks_only_about_what_is_there(
        self, lago: Lago, workdir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stdin", Typed("y\n"))
        _, err = lago.both("-P", "othre", "destroy", code=2)
        assert err == f"lago: {workdir} has no prefix othre\nhint: did you mean other?\n"
        assert lago("list") == "default\nother\n"

    @pytest.mark.parametrize(
        ("words", "hint"),
        [
            ("destroy", "lago destroy --yes"),
            ("destroy --all-prefixes", "lago destroy --all-prefixes --yes"),
            ("-P other destroy", "lago -P other destroy --yes"),
            ("-w .lago -P other destroy", "lago -w .lago -P other destroy --yes"),
            ("-p .lago/other destroy", "lago -p .lago/other destroy --yes"),
            ("destroy -f", "lago destroy --yes"),
            ("destroy --force", "lago destroy --yes"),
            ("destroy -P other", "-P comes before the command: lago -P other destroy"),
            (
                "destroy other",
                "an environment is named before the command: lago -P other destroy; lago list has the names",
            ),
            ("destroy --yes other", "an environment is named before the command: lago -P other destroy; lago list has"),
            ("fork default", "choose another name, or lago -p {default} destroy"),
            ("fork other", "choose another name, or lago -p {other} destroy"),
            ("-P other init", "choose another name, or lago -p {other} destroy"),
        ],
    )
    def test_who_does_as_a_hint_says_destroys_nothing_else(
        self, lago: Lago, workdir: Path, words: str, hint: str
    ) -> None:
        workdir.parent.joinpath("LagoInitFile").write_text(EMPTY)
        _, err = lago.both(*words.split(), code=2)
        quoted = {name: shlex.quote(f"{workdir}/{name}") for name in ("default", "other")}
        assert f"\nhint: {hint.format(**quoted)}" in err
        assert lago("list") == "default\nother\n"

    def test_all_prefixes_are_destroyed_with_what_cleanup_left(self, lago: Lago, workdir: Path) -> None:
        lago("cleanup")
        lago("destroy", "--yes", "--all-prefixes")
        assert not workdir.exists()

    def test_d22_destroy_asks_and_needs_a_terminal_for_it(self, lago: Lago, workdir: Path) -> None:
        _, err = lago.both("destroy", code=2)
        assert "lago destroy --yes" in err
        assert (workdir / "default" / "uuid").exists()

    def test_a_workdir_behind_a_link_works(self, lago: Lago, workdir: Path, tmp_path: Path) -> None:
        workdir.rename(tmp_path / "real")
        workdir.symlink_to("real")
        assert lago("list") == "default\nother\n"
        lago("set-current", "other")
        assert os.readlink(tmp_path / "real" / "current") == "other"
        for name in ("other", "default"):
            lago("-P", name, "destroy", "--yes")
        assert not os.path.lexists(workdir)
        assert not (tmp_path / "real").exists()

    def test_destroying_a_link_removes_the_link_only(self, lago: Lago, workdir: Path, tmp_path: Path) -> None:
        tmp_path.joinpath("link").symlink_to(workdir / "default")
        lago("--prefix-path", "link", "destroy", "--yes")
        assert not os.path.lexists(tmp_path / "link")
        workdir.rename(tmp_path / "real")
        workdir.symlink_to("real")
        lago("destroy", "--yes", "--all-prefixes")
        assert not os.path.lexists(workdir)
        assert Workdir(str(tmp_path / "real")).prefixes() == ["default", "other"]

    def test_a_stopped_prefix_may_be_moved(self, lago: Lago, workdir: Path, tmp_path: Path) -> None:
        before = lago("-f", "flat", "status").replace(str(workdir), "W")
        workdir.rename(tmp_path / "moved")
        after = lago("-w", "moved", "-f", "flat", "status").replace(str(tmp_path / "moved"), "W")
        assert after == before
        lago("-w", "moved", "destroy", "--yes", "--all-prefixes")
        assert not tmp_path.joinpath("moved").exists()


@pytest.mark.programs
class TestLock:
    def test_the_second_command_on_a_prefix_says_for_whom_it_waits_and_gives_up(
        self, lago: Lago, workdir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LAGO_LOCK_TIMEOUT", "2")
        prefix = workdir / "default"
        code = (
            "import sys, time; from lago.utils import lock_file\n"
            f"with lock_file({str(prefix / '.lock')!r}, what='it'):\n print(flush=True)\n time.sleep(60)\n"
        )
        script = workdir.parent / "lago"
        script.write_text(code)
        with subprocess.Popen([sys.executable, str(script), "start", "vm0"], stdout=subprocess.PIPE) as holder:
            assert holder.stdout
            holder.stdout.readline()
            _, err = lago.both("cleanup", code=2)
            holder.kill()
        who = f"process {holder.pid} (lago start vm0)"
        assert f"WARNING: the environment {prefix} is in use by {who}, waiting for it\n" in err
        assert f"lago: the environment {prefix} is still in use by {who} after 2 s\n" in err
        assert f"kill {holder.pid}" in err

    def test_an_empty_lock_file_names_nobody(self, tmp_path: Path) -> None:
        path = str(tmp_path / "lock")
        with (
            lock_file(path, what="it", shared=True),
            pytest.raises(LockTimeout, match="it is still in use by another process after 0 s") as raised,
            lock_file(path, what="it", timeout=0),
        ):
            pass
        assert raised.value.hint == "wait for it"

    def test_d31_an_init_that_fails_leaves_nothing_in_the_way_of_the_next(self, tmp_path: Path) -> None:
        file = tmp_path / "LagoInitFile"
        file.write_text(EMPTY.replace("type: empty, size: 1G, format: qcow2", "template_name: no-such-template"))
        workdir = Workdir(str(tmp_path / ".lago"))
        with pytest.raises(Exception, match="no-such-template"):
            workdir.add_prefix("default", str(file))
        assert not tmp_path.joinpath(".lago").exists()
        file.write_text(EMPTY)
        made = workdir.add_prefix("default", str(file))
        assert isinstance(made, Prefix)
        assert (workdir.current(), workdir.prefixes()) == ("default", ["default"])

    def test_a_name_that_is_taken_is_a_mistake_of_the_user(self, lago: Lago, workdir: Path) -> None:
        workdir.parent.joinpath("LagoInitFile").write_text(EMPTY)
        _, err = lago.both("init", code=2)
        assert "exists already" in err
        lago("-P", "third", "init", "--set-current")
        assert os.readlink(workdir / "current") == "third"

    def test_what_init_makes_is_the_current_one_and_told_unless_it_shall_not_be(
        self, lago: Lago, workdir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workdir.parent.joinpath("LagoInitFile").write_text(EMPTY)
        _, err = lago.both("-P", "third", "init", "--keep-current")
        assert os.readlink(workdir / "current") == "default"
        assert "current" not in err
        _, err = lago.both("-P", "fourth", "init")
        assert os.readlink(workdir / "current") == "fourth"
        assert "@ fourth is the current environment now, and not default or other or third\n" in err
        monkeypatch.setenv("LAGO__INIT__KEEP_CURRENT", "yes")
        lago("-P", "fifth", "init")
        assert os.readlink(workdir / "current") == "fourth"

    def test_of_the_first_one_nothing_is_told(self, lago: Lago, tmp_path: Path) -> None:
        tmp_path.joinpath("LagoInitFile").write_text(EMPTY)
        _, err = lago.both("init")
        assert "current" not in err
        assert os.readlink(tmp_path / ".lago" / "current") == "default"

    def test_a_destroy_after_another_init_does_not_meet_a_bystander(self, lago: Lago, workdir: Path) -> None:
        workdir.parent.joinpath("LagoInitFile").write_text(EMPTY)
        lago("destroy", "--yes")
        lago.both("destroy", "--yes", code=2)
        _, err = lago.both("init")
        assert "@ default is the current environment now, and not other\n" in err
        lago("destroy", "--yes")
        assert lago("list") == "other\n"

    def test_a_name_that_cleanup_left_is_told_with_the_remedy(self, lago: Lago, workdir: Path) -> None:
        workdir.parent.joinpath("LagoInitFile").write_text(EMPTY)
        lago("cleanup")
        for command in ("init", "up"):
            _, err = lago.both(command, code=2)
            assert err.endswith("default was cleaned up\nhint: lago --prefix-name default destroy removes it\n")
