"""Commands on a real guest from Python: what they are given, what they say, and how they end."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lago import Prefix
from lago.errors import SSHError, VMError, VMNotFound, VMNotReady, VMNotRunning
from lago.virt import VM, VirtEnv

from .box import TWO, Box


@pytest.fixture(scope="module")
def env(module_box: Box) -> Iterator[VirtEnv]:
    """Two machines that run."""
    module_box.up_warm(TWO)
    env = Prefix(str(module_box.prefix)).virt_env
    yield env
    env.close()


@pytest.fixture(scope="module")
def vm(env: VirtEnv) -> VM:
    """The one that stays up."""
    return env.get_vm("vm0")


def test_a_list_is_quoted_and_a_string_is_for_the_shell(vm: VM) -> None:
    words = ["printf", "[%s]", "a  b", "$HOME", "`id`", "it's", "", "*", "é\n"]
    assert vm.ssh(words, show_output=False).out.decode() == "[a  b][$HOME][`id`][it's][][*][é\n]"
    assert vm.ssh("echo $HOME; exit 3", show_output=False) == (3, b"/root\n", b"")


def test_output_is_bytes_and_shown_as_it_comes(vm: VM, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    status = vm.ssh(r"printf '\377\376\0 out'; printf '\351 err' >&2", data=b"unread")
    assert status == (0, b"\xff\xfe\0 out", b"\xe9 err")
    shown = capfdbinary.readouterr()
    assert (shown.out, shown.err) == (status.out, status.err)
    assert vm.ssh("cat; echo >&2", data=b"\0\xff" * 100_000, show_output=False).out == b"\0\xff" * 100_000
    assert capfdbinary.readouterr().out == b""


def test_output_is_shown_before_the_command_ends(vm: VM, monkeypatch: pytest.MonkeyPatch) -> None:
    first = threading.Event()

    class Screen(io.StringIO):
        def write(self, text: str) -> int:
            if "first" in text:
                first.set()
            return len(text)

    monkeypatch.setattr(sys, "stdout", Screen())
    vm.succeed("rm -f /root/go")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(vm.ssh, "echo first; until [ -e /root/go ]; do sleep 0.1; done", timeout=100)
        assert first.wait(60)
        assert not running.done()
        vm.succeed("touch /root/go")
        assert running.result().code == 0


def test_a_hundred_megabytes_of_output_are_kept(vm: VM) -> None:
    status = vm.ssh("dd if=/dev/zero bs=1M count=100 2>/dev/null", show_output=False)
    assert (status.code, len(status.out)) == (0, 100 << 20)


def test_fifty_commands_run_at_once(vm: VM) -> None:
    with ThreadPoolExecutor(50) as pool:
        said = list(pool.map(lambda n: vm.ssh(["echo", str(n)], show_output=False).out, range(50)))
    assert said == [f"{n}\n".encode() for n in range(50)]


def test_a_script_of_this_host_runs_there(vm: VM, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("[[ $BASH ]] && hostname\nexit 4\n")
    assert vm.ssh_script(str(script), show_output=False) == (4, b"vm0\n", b"")


def test_interactive_ssh_has_our_streams(vm: VM, module_box: Box) -> None:
    code = (
        "import sys; from lago import Prefix;"
        "sys.exit(Prefix(sys.argv[1]).virt_env.get_vm('vm0').interactive_ssh(['sh', '-c', 'cat; exit 6']).code)"
    )
    done = subprocess.run([sys.executable, "-c", code, module_box.prefix], input=b"typed", capture_output=True)
    assert (done.returncode, done.stdout) == (6, b"typed")


def test_a_command_that_takes_too_long_is_told_with_what_it_said(vm: VM) -> None:
    began = time.monotonic()
    with pytest.raises(VMError, match=r"vm0: the command did not end within 1 s: echo begun; sleep 60") as caught:
        vm.ssh("echo begun; sleep 60", show_output=False, timeout=1)
    assert time.monotonic() - began < 55
    assert caught.value.details == "begun\n"


def test_255_is_a_commands_own_status_unless_the_connection_is_lost(vm: VM) -> None:
    assert vm.ssh("exit 255", show_output=False).code == 255
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(vm.guest.run, "echo $$ >/root/pid; exec sleep 300")
        vm.wait_for_file("/root/pid")
        vm.guest.close()
        with pytest.raises(SSHError, match=r"vm0: the connection to root@.* was lost"):
            running.result(60)
    assert vm.ssh("true", show_output=False).code == 0


def test_a_testers_commands(vm: VM) -> None:
    assert vm.succeed("echo one", ["echo", "two  three"]) == "one\ntwo  three\n"
    assert vm.fail("echo no; false") == "no\n"
    with pytest.raises(VMError, match="vm0: the command failed with status 3: echo why >&2; exit 3") as caught:
        vm.succeed("echo why >&2; exit 3")
    assert caught.value.details == "why"
    assert vm.console_log() in caught.value.hint
    with pytest.raises(VMError, match="vm0: the command succeeded: true"):
        vm.fail("true")


def test_waiting_ends_when_it_is_so(vm: VM) -> None:
    vm.succeed("rm -f /root/flag; (sleep 1; echo up >/root/flag; exec nc -l -p 999 </dev/zero) >/dev/null 2>&1 &")
    assert vm.wait_until_succeeds("cat /root/flag") == "up\n"
    vm.wait_for_file("/root/flag")
    vm.wait_for_open_port(999)
    vm.succeed("(sleep 1; killall nc; rm /root/flag) >/dev/null 2>&1 &")
    vm.wait_for_closed_port(999)
    vm.wait_until_fails(["test", "-e", "/root/flag"])


def test_waiting_in_vain_is_told_with_the_last_words(vm: VM) -> None:
    with pytest.raises(VMError, match="vm0: the command did not succeed: echo not yet; false within 1 s") as caught:
        vm.wait_until_succeeds("echo not yet; false", timeout=1)
    assert caught.value.details == "not yet"
    for wait, what in (
        (lambda: vm.wait_for_open_port(1, timeout=0), "nothing listens at port 1 within 0 s"),
        (lambda: vm.wait_for_closed_port(22, timeout=0), "something listens at port 22 within 0 s"),
        (lambda: vm.wait_for_file("/no where", timeout=0), "there is no /no where within 0 s"),
        (lambda: vm.wait_until_fails("true", timeout=0), "the command did not fail: true within 0 s"),
    ):
        with pytest.raises(VMError, match=what):
            wait()


def test_a_key_that_is_not_taken_is_told(vm: VM, tmp_path: Path, module_box: Box) -> None:
    key = tmp_path / "key"
    key.write_bytes(Path(vm.guest.key).read_bytes().replace(b"A", b"B", 3))
    key.chmod(0o600)
    other = vm.guest._replace(key=str(key), passwords=(), control=f"{vm.guest.control}x")
    with pytest.raises(SSHError, match=r"vm0: root@.*: can't be logged in to"):
        other.open(60)


def test_what_does_not_run_or_is_not_there_is_told(env: VirtEnv) -> None:
    with pytest.raises(VMNotFound) as caught:
        env.get_vm("vm00")
    assert caught.value.hint == "did you mean vm0?"
    down = env.get_vm("vm1")
    assert down.ssh_reachable(tries=1)
    assert down.shutdown() == "ACPI"
    for command in (
        down.shutdown,
        down.reboot,
        lambda: down.ssh("true"),
        lambda: down.copy_to("/etc/hostname", "/root"),
    ):
        with pytest.raises(VMNotRunning, match="vm1 is not running, it is down"):
            command()
    assert not down.ssh_reachable(tries=1)
    assert b"vm1 is not running" in down.ssh("true", propagate_fail=False).err


@pytest.mark.slow
def test_a_machine_that_boots_again_under_a_command(vm: VM) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(vm.guest.run, "rm -f /run/begun; touch /run/begun; sleep 300")
        vm.wait_for_file("/run/begun")
        assert vm.reboot() == "ACPI"
        # It is told that the command was ended, or that the connection was, whichever came first.
        error = running.exception(60)
        assert isinstance(error, SSHError) if error else running.result().code != 0
    vm.wait_for_ssh(connect_retries=5)
    assert vm.succeed("test ! -e /run/begun && hostname") == "vm0\n"


def test_a_machine_that_heeds_nothing_is_stopped_by_force(
    vm: VM, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from lago.virt import power

    monkeypatch.setattr(power, "_PATIENCE", {power.ACPI: 0.1, power.AGENT: 0.1})
    # Process 1, which the button is told to, is busy.
    vm.succeed("kill -STOP 1; killall -STOP dd || true")
    assert vm.shutdown() == "force"
    assert "vm0 does not heed the ACPI" in caplog.text
    assert vm.state() == "down"
    with pytest.raises((VMNotReady, VMNotRunning)):
        vm.connect()
