"""The pytest plugin, as far as no machine has to run for it."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lago.environment import report
from lago.pytest_plugin import admission, home

from ..conftest import make_prefix

pytest_plugins = ["pytester"]
PLUGIN = ("-p", "lago.pytest_plugin", "-p", "no:cacheprovider")
OVIRT = ("-p", "ovirtlago.pytest_plugin")
SHOWN = r"^((?:lago|ovirt)_\w+)(?: \[(\w+) scope\])? -- .*\n((?: {4}.*\n|\n)*)"
"""A fixture as pytest lists it: its name, its scope unless that is the function, and its docstring."""


@pytest.mark.programs
class TestWhatPytestShows:
    @pytest.mark.parametrize("scope", ["session", "class"])
    def test_each_fixture_says_its_scope(self, pytester: pytest.Pytester, scope: str) -> None:
        done = pytester.runpytest_subprocess(*PLUGIN, *OVIRT, "--fixtures", "-v", f"--lago-scope={scope}")
        shown = re.findall(SHOWN, done.stdout.str(), re.MULTILINE)
        assert len(shown) == 11
        for name, is_of, text in shown:
            said = re.search(r"\bScope: (?:(function|module|session)\b|that of `lago_scope`)", text)
            assert said, f"{name} does not say its scope"
            assert (said[1] or scope) == (is_of or "function"), name

    def test_each_option_says_what_leaving_it_out_means(self, pytester: pytest.Pytester) -> None:
        said = " ".join(pytester.runpytest_subprocess(*PLUGIN, "--help").stdout.str().split())
        assert "(default: the setting lago_memory, or else 90 % of what is available)" in said
        assert "(default: the setting lago_init_file, or else LagoInitFile)" in said


@pytest.mark.programs
class TestOptions:
    def test_who_does_not_use_it_does_not_notice_it(self, pytester: pytest.Pytester) -> None:
        pytester.makepyfile(
            """
            import sys
            def test_it():
                assert not {"lago.sdk", "lago.environment.prefix", "libvirt", "yaml"} & set(sys.modules)
            """
        )
        pytester.runpytest_subprocess(*PLUGIN, "-W", "error", "--strict-config").assert_outcomes(passed=1)
        assert not (pytester.path / ".lago-pytest").exists()

    def test_it_is_announced_to_pytest_by_the_name_of_its_module(self) -> None:
        text = Path(__file__).parents[3].joinpath("pyproject.toml").read_text()
        assert '[project.entry-points.pytest11]\n"lago.pytest_plugin" = "lago.pytest_plugin"\n' in text

    @pytest.mark.parametrize(
        ("option", "said"),
        [
            ("--lago-keep=all", "lago_keep is 'all', not one of never, failed, always"),
            ("--lago-scope=test", "lago_scope is 'test', not one of session"),
            ("--lago-memory=2G", "lago_memory is '2G', not a number of MiB"),
            ("--lago-init-file=Missing", "Missing"),
        ],
    )
    def test_what_an_option_can_not_be_is_said(self, pytester: pytest.Pytester, option: str, said: str) -> None:
        pytester.makepyfile("def test_it(lago_env): pass")
        done = pytester.runpytest_subprocess(*PLUGIN, option)
        assert done.ret != 0
        assert said in done.stdout.str() + done.stderr.str()
        assert not (pytester.path / ".lago-pytest").exists()

    def test_the_command_line_begins_where_it_is_typed_and_an_ini_file_at_its_root(
        self, pytester: pytest.Pytester
    ) -> None:
        pytester.makeini("[pytest]\nlago_init_file = a/File\nlago_scope = module\n")
        pytester.makepyfile("def test_it(lago_init_file): assert str(lago_init_file) == EXPECTED")
        text = (pytester.path / f"{pytester._name}.py").read_text()
        below = pytester.mkdir("below")
        for options, expected in (((), "a/File"), (("--lago-init-file=F",), "below/F")):
            where = str(pytester.path / expected)
            (pytester.path / "test_it.py").write_text(text.replace("EXPECTED", repr(where)))
            with contextlib.chdir(below):
                done = pytester.runpytest_subprocess(*PLUGIN, *options, "../test_it.py")
            done.assert_outcomes(passed=1)

    def test_a_module_may_have_an_init_file_of_its_own(self, pytester: pytest.Pytester) -> None:
        pytester.makepyfile(
            """
            import pytest

            @pytest.fixture(scope="session")
            def lago_init_file():
                return {"domains": {}, "nests": {}}

            def test_it(lago_env): pass
            """
        )
        done = pytester.runpytest_subprocess(*PLUGIN)
        done.assert_outcomes(errors=1)
        done.stdout.fnmatch_lines(["*nests*"])


class TestAdmission:
    @pytest.mark.parametrize(
        ("mib", "others", "budget", "free", "fits"),
        [
            (512, 0, 100, 100, True),  # alone
            (512, 512, 1024, 2048, True),
            (513, 512, 1024, 2048, False),
            (512, 512, 1024, 500, False),  # something else has the memory
        ],
    )
    def test_there_is_room_for_one_alone_and_for_more_within_the_budget(
        self, mib: int, others: int, budget: int, free: int, fits: bool
    ) -> None:
        assert admission.fits(mib, others, budget, free) is fits

    def test_who_finds_no_room_says_so_once_and_waits_until_there_is(self) -> None:
        said: list[str] = []
        waits, entered = threading.Event(), threading.Event()

        def second() -> None:
            def say(text: str) -> None:
                said.append(text)
                waits.set()

            with admission.admitted(64, 100, say, wait=True):
                entered.set()

        with admission.admitted(64, 100, said.append, wait=True):
            thread = threading.Thread(target=second)
            thread.start()
            assert waits.wait(60)
            assert not entered.wait(0.7)
        assert entered.wait(60)
        thread.join()
        assert said == ["lago: waiting for 64 MiB of memory, which environments of other processes have"]

    def test_who_has_some_does_not_wait_for_more(self) -> None:
        with (
            admission.admitted(64, 100, pytest.fail, wait=True),
            admission.admitted(64, 100, pytest.fail, wait=False),
        ):
            pass

    @pytest.mark.programs
    def test_what_a_killed_process_had_is_available_again(self) -> None:
        code = (
            "import time\nfrom lago.pytest_plugin import admission\n"
            "with admission.admitted(64, 100, print, wait=True): print('in', flush=True); time.sleep(60)\n"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"in\n"
            process.kill()
        with admission.admitted(64, 100, pytest.fail, wait=True):
            pass

    @pytest.mark.programs
    def test_forks_count_as_what_their_processes_hold_now_and_a_reserve(self) -> None:
        code = "import sys; print(flush=True); input(); more = b'x' * (200 << 20); print(flush=True); input()"
        with (
            subprocess.Popen(
                [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            ) as process,
            contextlib.ExitStack() as held,
        ):
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdout.readline()
            with admission.admitted(1000, 300, pytest.fail, wait=True) as claim:
                assert admission.spare(128, 300, held) is None
                claim.measure([process.pid], 64)
                with contextlib.ExitStack() as others:
                    assert admission.spare(128, 300, others) is not None
                print(file=process.stdin, flush=True)
                process.stdout.readline()
                assert admission.spare(128, 300, held) is None
                process.kill()
                process.wait()
                assert admission.spare(128, 300, held) is not None


class TestHome:
    def test_it_goes_at_the_end_with_the_directory_that_it_is_in(self, tmp_path: Path) -> None:
        with home.held(tmp_path / "base", "gw0") as place:
            assert place.parent == tmp_path / "base"
        assert not (tmp_path / "base").exists()

    def test_environments_of_processes_that_ended_are_removed_by_the_next(self, tmp_path: Path) -> None:
        with home.held(tmp_path, "main") as place:
            make_prefix(place / "1-session" / "default")
        assert (place / "1-session").exists()
        with home.held(tmp_path, "main"):
            assert not (place / "1-session").exists()

    def test_those_of_processes_that_live_and_what_is_not_ours_stay(self, tmp_path: Path) -> None:
        tmp_path.joinpath("mine").mkdir()
        with home.held(tmp_path, "gw0") as place:
            make_prefix(place / "1-session" / "default")
            with home.held(tmp_path, "gw1"):
                pass
            assert (place / "1-session").exists()
        assert tmp_path.joinpath("mine").exists()


def test_a_test_s_name_makes_a_file_name() -> None:
    assert report.file_name("tests/test_a.py::TestB::test_c[x y/z]") == "tests-test_a.py-TestB-test_c-x-y-z"
