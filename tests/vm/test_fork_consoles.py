"""Consoles of forks, which begin with what their origin had said."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lago import sdk
from lago.virt import VM

from .box import ONE, Box


@pytest.fixture
def env(module_box: Box) -> Iterator[sdk.Env]:
    """An environment of one machine, which runs."""
    module_box.up_warm(ONE)
    with sdk.load_env(module_box.place / ".lago") as loaded:
        yield loaded


def machine(env: sdk.Env) -> VM:
    """The one that there is."""
    return env.get_vms()["vm0"]


def say(env: sdk.Env, words: str) -> None:
    """Let the machine say something on its console."""
    machine(env).succeed(f"echo {words} >/dev/console")
    machine(env).wait_for_console_text(words)


def test_the_console_of_a_fork_begins_with_that_of_its_origin_then(env: sdk.Env) -> None:
    say(env, "before")
    env.create_snapshots("told")
    then = machine(env).console_text()
    say(env, "afterwards")
    with env.fork(snapshot="told") as fork, env.fork() as now:
        assert "before" in then
        assert machine(fork).console_text().startswith(then)
        assert "afterwards" not in machine(fork).console_text()
        assert "afterwards" in machine(now).console_text()
        say(fork, "alone")
        assert "alone" not in machine(env).console_text()
        with fork.fork() as second:
            assert machine(second).console_text().startswith(machine(fork).console_text())


def test_an_old_panic_of_the_origin_does_not_end_the_wait_for_a_fork(env: sdk.Env) -> None:
    say(env, "Kernel panic - not syncing: of before")
    say(env, "end Kernel panic")
    with env.fork() as fork:
        assert "end Kernel panic" in machine(fork).console_text()
        assert machine(fork).succeed("hostname") == "vm0\n"


def test_what_a_snapshot_has_of_the_console_goes_with_it(env: sdk.Env, module_box: Box) -> None:
    def kept() -> set[str]:
        return {path.name for path in (module_box.prefix / "logs" / "saved").iterdir()}

    before = kept()
    say(env, "something")
    env.create_snapshots("one")
    assert len(kept() - before) == 1
    module_box.lago("snapshot", "delete", "one")
    assert kept() == before


@pytest.mark.slow
def test_logs_that_somebody_has_removed_are_missed_by_nobody(env: sdk.Env, module_box: Box) -> None:
    env.create_snapshots("bare")
    for path in (module_box.prefix / "logs" / "saved").iterdir():
        path.unlink()
    env.revert_snapshots("bare")
    with env.fork(snapshot="bare") as fork:
        assert machine(fork).succeed("hostname") == "vm0\n"
    module_box.lago("snapshot", "delete", "bare")
