"""Functions for tests: waiting, capabilities, sequences, decorators. Numbers D-nn are defects of earlier releases."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lago import LagoError
from lago.errors import PrefixError
from ovirtlago import testlib
from ovirtlago.prefix import OvirtPrefix
from ovirtlago.testing import capabilities

from ..unit.conftest import make_prefix

ENVIRONMENT = """
x-machine: &machine {nics: [{net: lan}]}
domains:
  engine: {<<: *machine, vm-type: ovirt-engine, metadata: {ovirt-capabilities: [snapshot-live-merge]}}
  host0: {<<: *machine, vm-type: ovirt-host, metadata: {ovirt-capabilities: [snapshot-live-merge, nested]}}
  host1: {<<: *machine, vm-type: ovirt-host, metadata: {ovirt-capabilities: snapshot-live-merge}}
nets: {lan: {}}
"""
NO_ROLES = "domains: {vm0: {nics: [{net: lan}]}}\nnets: {lan: {}}\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A prefix with an engine and two hosts, not running; the one that is tested."""
    made = make_prefix(tmp_path / "prefix", ENVIRONMENT)
    monkeypatch.setenv("LAGO_PREFIX", str(made))
    return made


def test_it_needs_neither_pytest_nor_the_sdk_before_they_are_used() -> None:
    heavy = "{'pytest', 'ovirtsdk4', 'libvirt', 'lago.environment.prefix'}"
    code = f"import sys, ovirtlago.testlib; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE).stdout == b"set()\n"


class TestWaiting:
    def test_it_ends_when_it_becomes_true_or_equal(self) -> None:
        answers: list[object] = [None, ValueError("not yet"), 0, 3]

        def ask() -> object:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        testlib.assert_true_within(ask, 20)
        assert answers == []
        answers = [1, KeyError("x"), 3]
        testlib.assert_equals_within(ask, 3, 20)
        assert answers == []

    def test_d19_it_does_not_spin(self) -> None:
        calls: list[float] = []
        began, worked = time.monotonic(), time.process_time()
        with pytest.raises(AssertionError):
            testlib.assert_true_within(lambda: calls.append(time.monotonic()), 1)
        assert time.process_time() - worked < 0.5
        assert time.monotonic() - began >= 1
        # 0.2 s at first, then half as much again each time.
        assert 2 <= len(calls) <= 7

    def test_it_says_what_it_last_got(self) -> None:
        def status() -> str:
            return "installing"

        with pytest.raises(AssertionError) as caught:
            testlib.assert_equals_within(status, "up", 0.1)
        assert "status (test_testlib.py:" in str(caught.value)
        assert str(caught.value).endswith("is not 'up' after 0.1 s, it last returned 'installing'")

    def test_it_says_what_was_last_raised_and_keeps_the_traceback(self) -> None:
        def status() -> str:
            raise LookupError("no such host")

        with pytest.raises(AssertionError, match=r"it last raised LookupError: no such host$") as caught:
            testlib.assert_true_within(status, 0)
        assert isinstance(caught.value.__cause__, LookupError)

    def test_what_is_not_allowed_is_raised_at_once(self) -> None:
        def status() -> str:
            raise errors.pop(0)

        errors: list[Exception] = [KeyError("x"), ValueError("y"), KeyError("z")]
        with pytest.raises(ValueError, match="y"):
            testlib.assert_true_within(status, 20, allowed_exceptions=[KeyError])
        errors = [ValueError("y")]
        with pytest.raises(ValueError, match="y"):
            testlib.assert_equals_within(status, "up", 20, allowed_exceptions=[])

    @pytest.mark.parametrize(
        "wait",
        [
            testlib.assert_true_within_short,
            testlib.assert_true_within_long,
            lambda func, allowed: testlib.assert_equals_within_short(func, 1, allowed),
            lambda func, allowed: testlib.assert_equals_within_long(func, 1, allowed),
        ],
    )
    def test_the_short_and_the_long_one_wait_too(self, wait: Callable[..., None]) -> None:
        answers = [1, 0]
        wait(answers.pop, [])
        assert answers == []
        with pytest.raises(IndexError):
            wait(answers.pop, [])
        assert (testlib.SHORT_TIMEOUT, testlib.LONG_TIMEOUT) == (180, 600)


class TestCapabilities:
    def test_d19_machines_that_are_able_are_found(self, place: Path) -> None:
        env = OvirtPrefix(str(place)).virt_env
        assert capabilities.lacking_of_engine(env, ["snapshot-live-merge"]) == ""
        assert capabilities.lacking_of_hosts(env, ["snapshot-live-merge"]) == ""
        assert capabilities.lacking_of_hosts(env, []) == ""

    def test_what_is_missing_is_named_with_the_machine(self, place: Path) -> None:
        env = OvirtPrefix(str(place)).virt_env
        # A word is not searched for in another one.
        assert capabilities.lacking_of_engine(env, ["snapshot"]) == "engine lacks snapshot"
        assert capabilities.lacking_of_hosts(env, ["nested", "sriov"]) == (
            "host0 lacks sriov, host1 lacks nested and sriov"
        )

    def test_nobody_is_able_to_do_anything(self, tmp_path: Path) -> None:
        env = OvirtPrefix(str(make_prefix(tmp_path / "prefix", NO_ROLES))).virt_env
        assert capabilities.lacking_of_engine(env, ["x"]) == "there is no engine"
        assert capabilities.lacking_of_hosts(env, ["x"]) == "there is no host"

    @pytest.mark.usefixtures("place")
    def test_d19_the_decorators_hand_arguments_and_results_on(self) -> None:
        @testlib.engine_capability(["snapshot-live-merge"])
        @testlib.host_capability(["snapshot-live-merge"])
        def merge(first: int, *, second: int) -> tuple[int, int]:
            return first, second

        assert merge(1, second=2) == (1, 2)
        assert merge.__name__ == "merge"

    @pytest.mark.parametrize(
        ("decorate", "reason"),
        [
            (testlib.engine_capability(["nested"]), "engine lacks nested"),
            (testlib.host_capability(["nested"]), "host1 lacks nested"),
        ],
    )
    @pytest.mark.usefixtures("place")
    def test_the_decorators_skip_with_the_reason(
        self, decorate: Callable[[Callable[[], Any]], Callable[[], Any]], reason: str
    ) -> None:
        with pytest.raises(pytest.skip.Exception, match=f"^{reason}$"):
            decorate(lambda: pytest.fail("it was called"))()


class TestDecorators:
    def test_the_environment_is_that_of_the_variable_or_of_the_working_directory(
        self, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prefix = testlib.get_test_prefix()
        assert isinstance(prefix, OvirtPrefix)
        assert prefix.paths.prefix() == str(place)
        assert testlib.get_test_prefix() is prefix
        monkeypatch.delenv("LAGO_PREFIX")
        monkeypatch.chdir(place)
        assert testlib.get_test_prefix() is prefix
        tmp_path.joinpath("elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        with pytest.raises(PrefixError):
            testlib.get_test_prefix()

    @pytest.mark.usefixtures("place")
    def test_a_function_and_a_method_get_the_environment_before_other_arguments(self) -> None:
        @testlib.with_ovirt_prefix
        def function(prefix: OvirtPrefix, *args: int, **more: int) -> list[object]:
            return [type(prefix), *args, more]

        class Some:
            @testlib.with_ovirt_prefix
            def method(self, prefix: OvirtPrefix, other: int) -> list[object]:
                return [type(self), type(prefix), other]

        assert function(1, 2, x=3) == [OvirtPrefix, 1, 2, {"x": 3}]
        assert Some().method(other=4) == [Some, OvirtPrefix, 4]

    def test_who_can_not_be_given_anything_is_told_at_once(self) -> None:
        with pytest.raises(TypeError, match="no parameter"):
            testlib.with_ovirt_prefix(lambda: None)

    def test_without_an_engine_there_is_no_connection_to_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LAGO_PREFIX", str(make_prefix(tmp_path / "prefix", NO_ROLES)))
        with pytest.raises(LagoError, match="has no engine"):
            testlib.with_ovirt_api(lambda _api: None)()


class TestSequence:
    def test_after_a_failure_the_rest_skips_itself(self) -> None:
        done: list[str] = []

        def one() -> None:
            done.append("one")

        def two() -> None:
            pytest.skip("not here")

        @testlib.continue_on_failure
        def three() -> None:
            raise ValueError("three")

        def four() -> None:
            done.append("four")
            raise ValueError("four")

        def five() -> None:
            pytest.fail("it was called")

        steps = testlib.test_sequence_gen([one, two, three, four, five, one])
        assert [step.description for step in steps] == ["one", "two", "three", "four", "five", "one"]
        outcomes = []
        for step in steps:
            try:
                step()
            except (ValueError, pytest.skip.Exception) as error:
                outcomes.append(str(error))
        assert outcomes == ["not here", "three", "four", *["four failed, which this builds on"] * 2]
        assert done == ["one", "four"]
