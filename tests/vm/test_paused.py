"""Forks whose machines stand paused: they cost no time of a processor, and go on when somebody needs one."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lago import Prefix, sdk
from lago.virt import VirtEnv, checkpoint

from .box import TWO, Box, processes

SNAPSHOT = "then"
HINT = "the first use of one lets them go on"
_EPSILON = 0.05


@pytest.fixture(scope="module")
def origin(module_box: Box) -> Box:
    """Two machines that run, with a snapshot."""
    module_box.up(TWO.replace("vcpu: 1", "vcpu: 1, artifacts: [/etc/hostname], metadata: {deploy-scripts: [true.sh]}"))
    module_box.lago("snapshot", SNAPSHOT)
    return module_box


@pytest.fixture(scope="module", autouse=True)
def script(module_box: Box) -> None:
    """A deploy script, before the environment is made."""
    module_box.write("true\n", "true.sh")


@pytest.fixture
def fork(origin: Box) -> Iterator[Box]:
    """A fork of it that stands paused, as a box whose commands are for it."""
    origin.lago("fork", "other", "--from", SNAPSHOT, "--paused")
    yield Box(origin.place, env={"LAGO_PREFIX_NAME": "other"})
    origin.lago("-P", "other", "destroy", "--yes", code=None)


def states(box: Box) -> set[str]:
    return set(box.states().values())


def time_of_qemu(prefix: Path) -> float:
    """Seconds of processors that the machines of a prefix have used."""
    pids = [pid for pid, command in processes() if f"{prefix}/" in command and "-incoming" in command]
    assert len(pids) == 2
    ticks = [sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])) for pid in pids]
    return sum(ticks) / os.sysconf("SC_CLK_TCK")


def test_machines_stand_still_and_status_says_why(origin: Box, fork: Box) -> None:
    assert states(fork) == {"paused"}
    assert HINT in fork.lago("status").out
    assert HINT in json.loads(fork.lago("-f", "json", "status").out)["Prefix"]["Paused"]
    before = time_of_qemu(origin.place / ".lago" / "other")
    threading.Event().wait(5)
    assert time_of_qemu(origin.place / ".lago" / "other") - before < 0.5
    assert states(fork) == {"paused"}
    assert states(origin) == {"running"}


def test_all_go_on_at_the_first_use_with_their_clocks_right(origin: Box, fork: Box) -> None:
    threading.Event().wait(5)
    assert fork.shell("vm0", "ping -c 1 vm1 >/dev/null && echo reached") == "reached\n"
    assert states(fork) == {"running"}
    assert HINT not in fork.lago("status").out
    for vm in ("vm0", "vm1"):
        began = time.time()
        guest = float(fork.shell(vm, "/bin/date +%s.%N"))
        ended = time.time()
        assert began - guest <= _EPSILON + (ended - began)
        assert guest - ended <= _EPSILON


USES: dict[str, list[str]] = {
    "start": ["start"],
    "start of one": ["start", "vm1"],
    "copy to": ["copy-to-vm", "vm0", "LagoInitFile", "/tmp/"],
    "copy from": ["copy-from-vm", "vm0", "/etc/hostname", "{}/hostname"],
    "deploy": ["deploy"],
    "collect": ["collect", "--output", "{}/collected"],
    "nsexec": ["nsexec", "--", "true"],
    "ssh-config": ["ssh-config"],
    "inventory": ["ansible_hosts"],
    "screenshot": ["screenshot", "vm0", "{}/shot.png"],
    "reboot": ["shutdown", "--reboot", "vm0"],
}


@pytest.mark.parametrize(
    "use", [pytest.param(one, marks=[pytest.mark.slow] if n > 2 else []) for n, one in enumerate(USES)]
)
def test_what_needs_a_machine_lets_them_go_on(fork: Box, tmp_path: Path, use: str) -> None:
    fork.lago(*(word.format(tmp_path) for word in USES[use]))
    assert states(fork) == {"running"}


def reached(env: VirtEnv) -> None:
    with env.get_vm("vm0").forward(22) as address, socket.create_connection(address, 60) as connection:
        assert connection.recv(3) == b"SSH"


CALLS: dict[str, Callable[[VirtEnv], object]] = {
    "ssh": lambda env: env.get_vm("vm0").ssh("true"),
    "wait_for_ssh": lambda env: env.get_vm("vm0").wait_for_ssh(),
    "forward": reached,
    "extract": lambda env: env.get_vm("vm0").extract([("/etc/hostname", f"{env.paths.prefix()}/hostname")]),
    "vnc_port": lambda env: env.get_vm("vm0").vnc_port(),
    "start": lambda env: env.start(),
}


@pytest.mark.parametrize(
    "call", [pytest.param(one, marks=[pytest.mark.slow] if n > 1 else []) for n, one in enumerate(CALLS)]
)
def test_what_a_program_calls_lets_them_go_on(origin: Box, call: str) -> None:
    with sdk.load_env(origin.place / ".lago").fork(snapshot=SNAPSHOT, paused=True) as fork:
        env = Prefix(fork.get_paths().prefix()).virt_env
        assert set(env.states().values()) == {"paused"}
        CALLS[call](env)
        assert set(env.states().values()) == {"running"}
        env.close()


def test_two_who_are_first_at_once_both_get_what_they_want(fork: Box) -> None:
    said: list[str] = []
    threads = [threading.Thread(target=lambda vm=vm: said.append(fork.shell(vm, "hostname"))) for vm in ("vm0", "vm1")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == ["vm0\n", "vm1\n"]
    assert states(fork) == {"running"}


@pytest.mark.slow
def test_what_needs_no_machine_leaves_them_paused(origin: Box, fork: Box) -> None:
    fork.lago("snapshot", "here")
    fork.lago("fork", "third", "--paused")
    third = Box(origin.place, env={"LAGO_PREFIX_NAME": "third"})
    assert states(fork) == states(third) == {"paused"}
    fork.lago("stop", "vm0")
    assert fork.states() == {"vm0": "down", "vm1": "paused"}
    assert fork.shell("vm1", "hostname") == "vm1\n"
    assert fork.states() == {"vm0": "down", "vm1": "running"}
    assert third.shell("vm0", "hostname") == "vm0\n"
    third.lago("destroy", "--yes")
    fork.lago("revert", "here")
    assert states(fork) == {"running"}
    assert fork.shell("vm1", "hostname") == "vm1\n"


def test_a_machine_that_stands_still_can_be_saved_again(origin: Box) -> None:
    env = Prefix(str(origin.prefix)).virt_env
    vms = list(env.get_vms().values())
    for vm in vms:
        assert checkpoint.pause(vm)
    try:
        for name in ("once", "twice"):
            origin.lago("snapshot", name)
            assert states(origin) == {"paused"}
    finally:
        for vm in vms:
            checkpoint.resume(vm)
        env.close()
    assert origin.shell("vm0", "hostname") == "vm0\n"


@pytest.mark.slow
def test_a_fork_that_was_stopped_before_it_was_used_boots(fork: Box) -> None:
    fork.lago("stop")
    assert states(fork) == {"down"}
    fork.lago("start")
    assert states(fork) == {"running"}
