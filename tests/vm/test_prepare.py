"""A step between nodes before the pristine snapshot: `lago_prepare` of a `conftest.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from .box import TWO

pytest_plugins = ["pytester"]
PLUGIN = ("-p", "lago.pytest_plugin", "-p", "no:cacheprovider")

# As the second node of a cluster needs what the first one made.
CONFTEST = """
def lago_prepare(env):
    token = env.get_vms()["vm0"].succeed("cat /proc/sys/kernel/random/uuid | tee /root/token")
    env.get_vms()["vm1"].ssh(["tee", "/root/token"], data=token.encode(), show_output=False)
    env.run_on_all("echo outer >>/root/steps")
"""
INNER = """
def lago_prepare(env):
    env.run_on_all("echo inner >>/root/steps")
"""
TESTS = """
def said(env):
    return env.run_on_all("cat /root/token /root/steps; ls /root/spoilt 2>/dev/null || true")

def test_all_find_it(lago_env):
    one, two = said(lago_env).values()
    assert one == two
    token, *steps = one.split()
    assert len(token) == 36
    assert steps == ["outer", "inner"]
    lago_env.run_on_all("echo lost >/root/token; touch /root/spoilt")

def test_a_fork_has_it(lago_fork):
    assert_prepared(said(lago_fork))

def test_it_comes_back(lago_pristine):
    assert_prepared(said(lago_pristine))

def assert_prepared(found):
    assert len(set(found.values())) == 1
    assert found["vm0"].split()[1:] == ["outer", "inner"]
"""
FAILS = """
def lago_prepare(env):
    vm = env.get_vms()["vm0"]
    vm.ssh("echo on the console >/dev/console")
    vm.succeed("echo no token here; exit 4")
"""


@pytest.fixture(autouse=True)
def place(mini: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with an init file, in which pytest runs."""
    monkeypatch.setenv("LAGO_BOOT_TIMEOUT", "30")
    pytester.path.joinpath("LagoInitFile").write_text(TWO)
    return pytester.path


def test_a_step_is_taken_once_and_is_in_all_that_is_pristine(pytester: pytest.Pytester, place: Path) -> None:
    pytester.makeconftest(CONFTEST)
    inner = pytester.mkpydir("inner")
    (inner / "conftest.py").write_text(INNER)
    (inner / "test_it.py").write_text(TESTS)
    pytester.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=3)
    assert not (place / ".lago-pytest").exists()


@pytest.mark.slow
def test_a_step_that_fails_is_told_with_its_machines_and_no_test_is_run(pytester: pytest.Pytester, place: Path) -> None:
    pytester.makeconftest(FAILS)
    pytester.makepyfile("def test_it(lago_pristine): raise KeyError")
    done = pytester.runpytest_subprocess(*PLUGIN)
    done.assert_outcomes(errors=1)
    said = done.stdout.str()
    assert 'vm.succeed("echo no token here; exit 4")' in said
    assert f"lago: the environment is up and deployed, but lago_prepare of {place}/conftest.py failed" in said
    assert "vm0: the command failed with status 4: echo no token here; exit 4\n    no token here" in said
    assert "on the console" in said
    assert "KeyError" not in said
    assert not (place / ".lago-pytest").exists()


@pytest.mark.slow
def test_each_worker_prepares_its_own(pytester: pytest.Pytester, place: Path) -> None:
    pytester.makeconftest(f"{CONFTEST}    open(f'steps-{{__import__(\"os\").getpid()}}', 'w').close()\n")
    for name in ("test_one", "test_two"):
        pytester.makepyfile(**{name: "def test_it(lago_pristine): assert lago_pristine.run_on_all('cat /root/steps')"})
    done = pytester.runpytest_subprocess(*PLUGIN, "-n", "2", "--dist", "each")
    done.assert_outcomes(passed=4)
    assert len(list(place.glob("steps-*"))) == 2
