"""Markers, fixtures and the log collector of the pytest plugin, as far as no machine has to run for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..unit.conftest import make_prefix
from .test_testlib import ENVIRONMENT

pytest_plugins = ["pytester"]

PLUGIN = ("-p", "ovirtlago.pytest_plugin", "-p", "no:cacheprovider", "--strict-markers", "--strict-config", "-rs")


# Of the module, so that it is made before pytester notes which Python modules are loaded, to forget all others.
@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that is not running."""
    return make_prefix(tmp_path_factory.mktemp("ovirt") / "prefix", ENVIRONMENT)


@pytest.fixture
def prefix(environment: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment is the one that is tested."""
    monkeypatch.setenv("LAGO_PREFIX", str(environment))
    return environment


def test_who_does_not_use_it_does_not_notice_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys
        def test_it():
            assert not {"ovirtlago.prefix", "ovirtlago.testlib", "ovirtsdk4", "libvirt"} & set(sys.modules)
        """
    )
    pytester.runpytest_subprocess(*PLUGIN, "-W", "error").assert_outcomes(passed=1)


def test_it_is_announced_to_pytest_by_the_name_of_its_module() -> None:
    text = Path(__file__).parents[2].joinpath("pyproject.toml").read_text()
    assert '\n"ovirtlago.pytest_plugin" = "ovirtlago.pytest_plugin"\n' in text


def test_the_markers_skip_with_the_reason_and_keep_arguments(pytester: pytest.Pytester, prefix: Path) -> None:
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.engine_capability("snapshot-live-merge")

        @pytest.mark.host_capability("snapshot-live-merge")
        def test_all_are_able(ovirt_prefix, tmp_path):
            assert ovirt_prefix.virt_env.engine_vm().name() == "engine"
            assert tmp_path.is_dir()

        @pytest.mark.host_capability("snapshot-live-merge", "nested")
        def test_a_host_is_not():
            assert False

        @pytest.mark.engine_capability("nested")
        def test_the_engine_is_not(no_such_fixture):
            assert False
        """
    )
    done = pytester.runpytest_subprocess(*PLUGIN)
    done.assert_outcomes(passed=1, skipped=2)
    done.stdout.fnmatch_lines(["SKIPPED*test_the_markers*.py:*: host1 lacks nested", "SKIPPED*: engine lacks nested"])
    assert not prefix.joinpath("test_logs").exists()


SEQUENCE = """
import pytest

pytestmark = pytest.mark.ovirt_sequence

def test_one(): pass

@pytest.mark.continue_on_failure
def test_two(): assert False

def test_three(): pytest.skip("not here")

@pytest.fixture
def broken(): assert False

def test_four(broken): pass

def test_five(): pass

class TestMore:
    def test_six(self): pass
"""


SEQUENCES = """
import pytest

class Steps:
    def test_one(self): assert self.fine
    def test_two(self): pass

@pytest.mark.ovirt_sequence
class TestBad(Steps):
    fine = False

@pytest.mark.ovirt_sequence
class TestGood(Steps):
    fine = True

@pytest.mark.ovirt_sequence
@pytest.mark.parametrize("number", range(3))
def test_first(number): assert not number

def test_apart(): pass

@pytest.mark.ovirt_sequence
def test_last(): pass
"""


def test_a_failure_in_a_sequence_skips_the_rest_of_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_a=SEQUENCE, test_b=SEQUENCES)
    done = pytester.runpytest_subprocess(*PLUGIN)
    done.assert_outcomes(passed=1 + 4, failed=1 + 2, errors=1, skipped=3 + 3)
    done.stdout.fnmatch_lines_random(
        [
            "*: not here",
            "SKIPPED ?2?*: test_four failed, which this builds on",
            "*test_one failed, which*",
            "*test_first?1? failed, which*",
        ]
    )


def test_a_list_of_functions_is_a_test_each(pytester: pytest.Pytester, prefix: Path) -> None:
    pytester.makepyfile(
        """
        import pytest
        from ovirtlago import testlib

        @testlib.with_ovirt_prefix
        def add_dc(prefix): assert prefix.paths.prefix()

        @testlib.host_capability(["nested"])
        def add_nested(): assert False

        @testlib.continue_on_failure
        def add_cluster(): assert False

        def add_hosts(): assert False

        def add_storage(): pass

        STEPS = [add_dc, add_nested, add_cluster, add_hosts, add_storage]

        @pytest.mark.parametrize("step", testlib.test_sequence_gen(STEPS))
        def test_bootstrap(step):
            step()
        """
    )
    done = pytester.runpytest_subprocess(*PLUGIN, "-v")
    done.assert_outcomes(passed=1, failed=2, skipped=2)
    done.stdout.fnmatch_lines(
        ["*test_bootstrap?add_nested? SKIPPED*", "*test_bootstrap?add_storage? SKIPPED*", "*: add_hosts failed, which*"]
    )


def test_522_an_engine_that_is_down_is_said_at_once(pytester: pytest.Pytester, prefix: Path) -> None:
    pytester.makepyfile("def test_it(ovirt_api): pass")
    done = pytester.runpytest_subprocess(*PLUGIN)
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*engine is not running*", "*- lago error -*", "hint: *lago*start*"])


def test_where_there_is_no_environment_that_is_said(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAGO_PREFIX", raising=False)
    pytester.makepyfile("def test_it(ovirt_prefix): pass")
    done = pytester.runpytest_subprocess(*PLUGIN)
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*PrefixError: there is no environment in *"])
