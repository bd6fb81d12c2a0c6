"""`lago ovirt runtest`: pytest against an environment, its report and its exit status. No machine runs."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ovirtlago.prefix import OvirtPrefix
from ovirtlago.testing.run import report_path

from ..unit.conftest import make_prefix
from ..vm.box import wait_for
from .test_testlib import ENVIRONMENT

Lago = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a prefix and files of tests in it."""
    place = tmp_path_factory.mktemp("runtest")
    make_prefix(place / "prefix", ENVIRONMENT)
    place.joinpath("good.py").write_text(
        "import pytest\ndef test_it(ovirt_prefix): assert ovirt_prefix.topology\ndef test_skips(): pytest.skip()\n"
    )
    place.joinpath("bad.py").write_text("def test_it(): assert 1 == 2\ndef test_other(): pass\n")
    place.joinpath("broken.py").write_text("def test_it(:\n")
    place.joinpath("empty").mkdir()
    return place


@pytest.fixture
def lago(place: Path) -> Lago:
    """Run `lago ovirt` in the directory, and see that it ends with the exit status `code`."""

    def run(*words: str, code: int = 0, json: bool = False) -> subprocess.CompletedProcess[str]:
        options = ["-f", "json"] if json else []
        argv = ["lago", *options, "--prefix-path", "prefix", "ovirt", *words]
        done = subprocess.run(argv, cwd=place, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def test_data_is_on_standard_output_and_what_pytest_says_is_not(lago: Lago, place: Path) -> None:
    done = lago("runtest", "good.py", json=True)
    found = json.loads(done.stdout)
    seconds = found.pop("seconds")
    report = place / "prefix" / "good.py.junit.xml"
    assert found == {"report": str(report), "tests": 2, "failures": 0, "errors": 0, "skipped": 1}
    assert seconds > 0
    assert "good.py::test_it PASSED" in done.stderr
    assert 'name="test_it"' in report.read_text()


def test_a_failed_test_is_an_error_that_says_where_to_look(lago: Lago, place: Path) -> None:
    done = lago("runtest", "bad.py", "--junitxml-file", "reports/", code=2)
    assert done.stdout == ""
    report = place / "reports" / "bad.py.junit.xml"
    assert "lago: 1 of 2 tests of bad.py failed\n" in done.stderr
    assert str(report) in done.stderr
    assert "assert 1 == 2" in report.read_text()
    logs = place.joinpath("prefix", "test_logs")
    [collected] = [path for path in logs.iterdir() if f"test_logs/{path.name}" in done.stderr]
    assert collected.name.startswith("bad.py-test_it-20")
    assert sorted(path.name for path in collected.iterdir() if path.is_dir()) == ["engine", "host0", "host1"]


def test_what_can_not_be_run_is_said_and_an_old_report_goes(lago: Lago, place: Path) -> None:
    old = place / "prefix" / "broken.py.junit.xml"
    old.write_text("all is well")
    done = lago("runtest", "broken.py", code=2)
    assert "the tests of broken.py were not run to the end: pytest ended with status 2" in done.stderr
    assert "all is well" not in old.read_text()
    assert "there is no test in empty" in lago("runtest", "empty", code=2).stderr


def test_tests_that_are_not_there_are_named_with_a_near_name(lago: Lago) -> None:
    done = lago("runtest", "goood.py", code=2)
    assert "lago: there are no tests at goood.py\nhint: did you mean good.py?\n" in done.stderr


SLOW = """
import pathlib, time, pytest

@pytest.fixture
def thing():
    pathlib.Path("ready").touch()
    yield
    time.sleep(0.5)
    pathlib.Path("tidy").touch()

def test_it(thing): time.sleep(600)
"""


def test_tests_that_are_interrupted_tidy_up(place: Path) -> None:
    place.joinpath("slow.py").write_text(SLOW)
    argv = ["lago", "--prefix-path", "prefix", "ovirt", "runtest", "slow.py", "--junitxml-file", "slow.xml"]
    with subprocess.Popen(argv, cwd=place, stderr=subprocess.DEVNULL) as process:
        try:
            assert wait_for(lambda: (place / "ready").exists() or process.poll() is not None, 100)
            process.send_signal(signal.SIGINT)
            assert process.wait(100) == 128 + signal.SIGINT
        finally:
            process.kill()
    assert (place / "tidy").exists()
    assert (place / "prefix" / "slow.xml").read_text().endswith("</testsuites>")


def test_run_test_tells_whether_all_passed(place: Path) -> None:
    prefix = OvirtPrefix(str(place / "prefix"))
    assert prefix.run_test(str(place / "good.py"), "mine.xml")
    assert (place / "prefix" / "mine.xml").is_file()


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        (None, "/prefix/test_a.py.junit.xml"),
        ("a.xml", "/prefix/a.xml"),
        ("/else/a.xml", "/else/a.xml"),
        ("/else/", "/else/test_a.py.junit.xml"),
    ],
)
def test_a_report_has_a_place(wanted: str | None, path: str) -> None:
    assert report_path("/prefix", "dir/test_a.py", wanted) == path


def test_a_relative_report_begins_where_we_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert report_path("/prefix", "dir/", "./a.xml") == str(tmp_path / "a.xml")
    assert report_path("/prefix", "dir/", "out/") == str(tmp_path / "out" / "dir.junit.xml")
