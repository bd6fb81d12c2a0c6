"""`lago console` and `lago logs`: what machines say on their serial consoles."""

from __future__ import annotations

import json
import signal
import subprocess
import termios
import threading
from collections.abc import Iterator

import pytest

from lago import Prefix
from lago.errors import VMError, VMNotReady, VMNotRunning
from lago.virt import VM

from .box import TWO, Box, wait_for
from .terminal import Terminal

# A machine with a password has a login on its console.
WITH_PASSWORD = TWO.replace("vm0: {", "vm0: {root-password: secret, ")


@pytest.fixture(scope="module")
def two(module_box: Box) -> Box:
    """Two machines that run; one lets log in on its console."""
    module_box.up(WITH_PASSWORD)
    return module_box


@pytest.fixture(scope="module")
def vm(two: Box) -> Iterator[VM]:
    """The first machine."""
    env = Prefix(str(two.prefix)).virt_env
    yield env.get_vm("vm0")
    env.close()


def test_the_console_is_a_terminal_and_is_left_as_it_was_found(two: Box) -> None:
    with Terminal(two, "console", "vm0") as terminal:
        before = termios.tcgetattr(terminal.fd)
        terminal.expect("Ctrl-] leaves")
        terminal.type("\n")
        terminal.expect("login: ")
        assert termios.tcgetattr(terminal.fd) != before, "the terminal is raw"
        terminal.type("root\n")
        terminal.expect("Password: ")
        terminal.type("secret\n")
        terminal.expect(":~$ ")
        # Control-C is for the machine. It is one process, for a signal between two commands would end neither.
        terminal.type("sh -c 'echo beg\"\"un; exec sleep 1000'\n")
        terminal.expect("begun")
        terminal.type("\x03")
        terminal.type("echo $((6 * 7)) is it\n")
        terminal.expect("42 is it")
        terminal.type("exit\n")
        terminal.expect("login: ")
        terminal.type("\x1d")
        assert terminal.wait() == 0
        assert termios.tcgetattr(terminal.fd) == before
    assert "42 is it" in two.lago("logs", "vm0").out, "what is said on the console is logged too"


def test_somebody_else_at_the_console_is_told_of_and_can_be_thrown_out(two: Box) -> None:
    with Terminal(two, "console", "vm0") as first:
        first.expect("Ctrl-] leaves")
        first.type("\n")
        first.expect("login: ")
        with Terminal(two, "console", "vm0") as refused:
            refused.expect("hint: somebody is at it? lago console --force vm0 takes it over")
            assert refused.wait() == 2
        with Terminal(two, "console", "--force", "vm0") as second:
            second.expect("Ctrl-] leaves")
            first.expect("somebody took over")
            assert first.wait() == 0
            second.type("\n")
            second.expect("login: ")
            second.type("\x1d")
            assert second.wait() == 0


def test_the_terminal_is_restored_when_the_console_is_killed(two: Box) -> None:
    with Terminal(two, "console", "vm0") as terminal:
        before = termios.tcgetattr(terminal.fd)
        terminal.expect("Ctrl-] leaves")
        assert wait_for(lambda: termios.tcgetattr(terminal.fd) != before)
        terminal.end(signal.SIGTERM)
        assert terminal.wait() == 128 + signal.SIGTERM
        assert termios.tcgetattr(terminal.fd) == before


def test_a_console_without_a_terminal_is_refused(two: Box) -> None:
    done = two.lago("console", "vm0", data="root\n", code=2)
    assert "a console needs a terminal" in done.err
    assert "lago logs -f vm0" in done.err


def test_logs_are_told_of_one_or_several_machines(two: Box) -> None:
    assert "lago-init: this is vm1\n" in two.lago("logs", "vm1").out
    several = two.lago("logs").out
    assert "vm0: lago-init: this is vm0\n" in several
    assert "vm1: lago-init: this is vm1\n" in several
    assert list(json.loads(two.lago("-f", "json", "logs", "-n", "1").out)) == ["vm0", "vm1"]
    assert two.lago("logs", "-n", "2", "vm1").out == "".join(two.lago("logs", "vm1").out.splitlines(True)[-2:])
    assert two.lago("logs", "-n", "0", "vm1").out == ""
    assert "there is no machine vm9\nhint: did you mean vm1?" in two.lago("logs", "vm9", code=2).err
    assert "no number of lines" in two.lago("logs", "-n", "-1", code=2).err


def _line(process: subprocess.Popen[str], wanted: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if wanted in line:
            return
    raise AssertionError(f"{wanted!r} never came")


def test_logs_follow_machines_over_a_restart(two: Box) -> None:
    with two.until_interrupted("logs", "-f") as process:
        _line(process, "vm1: lago-init: this is vm1")
        # There is the prompt of a login in the line before.
        two.shell("vm1", "(echo; echo one) >/dev/console")
        _line(process, "vm1: one")
        two.lago("stop", "vm1")
        two.lago("start", "vm1")
        _line(process, "vm1: lago-init: this is vm1")
        two.shell("vm0", "echo two >/dev/console")
        _line(process, "two")


def test_a_text_is_waited_for(vm: VM) -> None:
    found: list[str] = []
    waits = threading.Thread(target=lambda: found.append(vm.wait_for_console_text(r"^number (\d+)$", 60)[1]))
    waits.start()
    vm.ssh("echo number seven >/dev/console; echo number 8 >/dev/console")
    waits.join(60)
    assert found == ["8"]
    # The next call looks behind that.
    with pytest.raises(VMNotReady) as caught:
        vm.wait_for_console_text("number", 0.1)
    assert "within 0.1 s" in caught.value.what
    assert "number 8" in caught.value.details
    assert vm.console_log() in caught.value.hint
    with pytest.raises(VMError, match="no regular expression"):
        vm.wait_for_console_text("(", 1)


def test_who_waits_for_a_text_learns_that_the_machine_ended(vm: VM, two: Box) -> None:
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            vm.wait_for_console_text("never said", 120)
        except VMNotRunning as error:
            raised.append(error)

    waits = threading.Thread(target=wait)
    waits.start()
    two.lago("stop", "vm0")
    waits.join(30)
    assert [str(error) for error in raised] == ["vm0 ended, or was not started, and did not say 'never said'"]
