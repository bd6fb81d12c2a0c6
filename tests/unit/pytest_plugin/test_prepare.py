"""`lago_prepare` of users' files: which are for which tests, and which can't be."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]
PLUGIN = ("-p", "lago.pytest_plugin", "-p", "no:cacheprovider")


def told(pytester: pytest.Pytester, *words: str) -> str:
    """What pytest says when machines can't be prepared, before it makes any."""
    pytester.makefile("", LagoInitFile="domains: {vm0: {}}\nnets: {}\n")
    done = pytester.runpytest_subprocess(*PLUGIN, *words)
    assert done.ret == 1
    assert not (pytester.path / ".lago-pytest").exists()
    return done.stdout.str()


@pytest.mark.programs
@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("lago_prepare = 7", "is no function"),
        ("def lago_prepare(): pass", "does not take one argument, the environment"),
        ("def lago_prepare(env, other): pass", "does not take one argument, the environment"),
        ("async def lago_prepare(env): pass", "is asynchronous, and nobody would wait for it"),
        ("def lago_prepare(env): yield", "yields, so that calling it does nothing"),
    ],
)
def test_what_can_not_be_called_is_said_before_anything_is_made(
    pytester: pytest.Pytester, text: str, wrong: str
) -> None:
    pytester.makeconftest(text)
    pytester.makepyfile("def test_it(lago_vms): pass")
    said = told(pytester)
    assert f"LagoError: {pytester.path}/conftest.py: lago_prepare {wrong}" in said
    assert "hint: write def lago_prepare(env): ..." in said


@pytest.mark.programs
def test_a_step_for_some_of_the_tests_that_share_an_environment_is_refused(pytester: pytest.Pytester) -> None:
    for name in ("a", "b"):
        pytester.mkpydir(name).joinpath("test_it.py").write_text("def test_it(lago_vms): pass\n")
    (pytester.path / "b" / "conftest.py").write_text("def lago_prepare(env): 1 / 0\n")
    said = told(pytester)
    assert f"{pytester.path}/b/conftest.py: lago_prepare is not for all tests that share lago_env" in said
    assert "as by --lago-scope=module" in said
    assert "ZeroDivisionError" not in said


@pytest.mark.programs
def test_where_tests_share_nothing_each_has_its_own_step(pytester: pytest.Pytester) -> None:
    # Steps are found: what is refused is refused for the one test alone, and the other comes as far as its machines.
    for name in ("a", "b"):
        pytester.mkpydir(name).joinpath("test_it.py").write_text("def test_it(lago_vms): pass\n")
    (pytester.path / "b" / "conftest.py").write_text("def lago_prepare(): pass\n")
    said = told(pytester, "--lago-scope=module", "b")
    assert "does not take one argument" in said
    pytester.makefile("", LagoInitFile="domains: {vm0: {memory: none}}\n")
    done = pytester.runpytest_subprocess(*PLUGIN, "--lago-scope=module")
    assert "domains.vm0.memory: expected a size" in done.stdout.str()
    assert "does not take one argument" in done.stdout.str()
    done.assert_outcomes(errors=2)


@pytest.mark.programs
def test_who_uses_no_machines_does_not_notice_it(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def lago_prepare(): raise AssertionError")
    pytester.makepyfile("def test_it(): pass")
    pytester.runpytest_subprocess(*PLUGIN, "-W", "error").assert_outcomes(passed=1)
