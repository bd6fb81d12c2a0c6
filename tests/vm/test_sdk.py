"""Lago as a library, with real machines: several environments in one process, several threads on each."""

from __future__ import annotations

import functools
import logging
import os
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lago import sdk
from lago.host.parallel import in_parallel

from .box import ONE, processes


@pytest.fixture(scope="module")
def places(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """Where two environments are; nothing is left there at the end."""
    found = [tmp_path_factory.mktemp("sdk") for _ in range(2)]
    yield found
    assert not [command for _, command in processes() if any(str(place) in command for place in found)]


@pytest.fixture(scope="module")
def envs(places: list[Path]) -> Iterator[list[sdk.Env]]:
    """Two environments of one process, made and started at once."""
    os.environ["LAGO_BOOT_TIMEOUT"] = "30"

    def made(place: Path) -> sdk.Env:
        place.joinpath("LagoInitFile").write_text(ONE)
        env = sdk.init(place / "LagoInitFile", place / "w", place / "sdk.log", logging.DEBUG)
        env.start()
        return env

    try:
        first, second = in_parallel(made, places, what="start")
        with first, second:
            yield [first, second]
    finally:
        del os.environ["LAGO_BOOT_TIMEOUT"]
    assert not any((place / "w").exists() for place in places)


def ssh(env: sdk.Env, command: str) -> str:
    return env.get_vms()["vm0"].ssh(command).out.decode().strip()


@pytest.mark.slow
def test_environments_of_the_same_addresses_do_not_notice_each_other(envs: list[sdk.Env], places: list[Path]) -> None:
    first, second = envs
    assert first.get_vms()["vm0"].ip() == second.get_vms()["vm0"].ip()
    in_parallel(lambda env: ssh(env, f"echo {shlex.quote(env.get_paths().prefix())} >/root/mine"), envs, what="write")
    assert [ssh(env, "cat /root/mine") for env in envs] == [env.get_paths().prefix() for env in envs]
    for own, other in (places, reversed(places)):
        for log in (own / "sdk.log", own / "w" / "default" / "logs" / "lago.log"):
            text = log.read_text()
            assert "Start Prefix: Success" in text
            assert f"{other}/" not in text


def test_threads_use_a_machine_while_others_change_its_environment(envs: list[sdk.Env]) -> None:
    env, _ = envs
    done = threading.Event()

    def repeat(ask: Callable[[], bool]) -> int:
        asked = 0
        while not done.is_set():
            assert ask()
            asked += 1
        return asked

    def change() -> int:
        try:
            for name in ("one", "two"):
                env.create_snapshots(name)
        finally:
            done.set()
        return 1

    vm = env.get_vms()["vm0"]
    asks = [vm.alive, vm.alive, lambda: vm.state() in ("running", "paused"), lambda: ssh(env, "hostname") == "vm0"]
    work: list[Callable[[], int]] = [change, *(functools.partial(repeat, ask) for ask in asks)]
    assert all(in_parallel(lambda one: one(), work, what="use"))


def test_a_fork_and_its_origin_go_their_own_ways(envs: list[sdk.Env]) -> None:
    env, _ = envs
    ssh(env, "echo both >/root/of; sync")
    with env.fork() as fork:
        ssh(fork, "echo fork >/root/of")
        with fork.fork() as second:
            assert ssh(second, "cat /root/of") == "fork"
        assert not os.path.exists(second.get_paths().prefix())
        assert ssh(env, "cat /root/of") == "both"
    assert not os.path.exists(fork.get_paths().prefix())
    assert ssh(env, "cat /root/of") == "both"


def test_a_revert_brings_back_what_was_and_machines_can_be_used_on(envs: list[sdk.Env]) -> None:
    env, _ = envs
    ssh(env, "echo before >/root/when")
    env.create_snapshots("then", description="before it is written again")
    ssh(env, "echo after >/root/when")
    env.revert_snapshots("then")
    assert ssh(env, "cat /root/when") == "before"


def test_what_another_process_stops_is_down_for_us_too(envs: list[sdk.Env]) -> None:
    _, env = envs
    assert env.get_vms()["vm0"].state() == "running"
    subprocess.run(["lago", "--prefix-path", env.get_paths().prefix(), "stop"], check=True)
    assert env.get_vms()["vm0"].state() == "down"
    assert not env.get_vms()["vm0"].alive()
