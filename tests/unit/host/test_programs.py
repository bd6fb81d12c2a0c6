"""The one runner: programs end with their block, their interruption, and with us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lago.errors import CommandError, HostError
from lago.host import waiting
from lago.host.programs import PIPE, CommandStatus, Process, run, search_path, spawn, tail, which

STUBBORN = ["sh", "-c", "trap '' TERM; echo; exec sleep 60"]
"""Says a line when it no longer heeds SIGTERM."""


def fail(process: Process) -> None:
    assert process.stdout
    process.stdout.readline()
    raise ValueError("interrupted")


@pytest.mark.programs
class TestSpawn:
    def test_a_block_that_ends_waits_for_the_program_and_closes_its_pipes(self) -> None:
        with spawn(["sh", "-c", "cat; exit 3"], stdin=PIPE, stdout=PIPE) as process:
            pass
        assert process.returncode == 3
        assert process.stdin
        assert process.stdout
        assert (process.stdin.closed, process.stdout.closed) == (True, True)

    def test_a_block_that_fails_asks_the_program_to_end(self) -> None:
        with (
            pytest.raises(ValueError, match="interrupted"),
            spawn(["sh", "-c", "echo; exec sleep 60"], stdout=PIPE) as p,
        ):
            fail(p)
        assert p.returncode == -signal.SIGTERM

    def test_an_interrupt_ends_a_program_that_is_waited_for_at_the_end_of_its_block(self) -> None:
        # It speaks late, so that it is being waited for by then.
        code = (
            "from lago.host.programs import spawn\n"
            "with spawn(['sh', '-c', 'sleep 1; echo $$; exec sleep 60']):\n    pass"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as ours:
            assert ours.stdout
            pid = int(ours.stdout.readline())
            ours.send_signal(signal.SIGINT)
            ours.wait(50)
        assert not os.path.exists(f"/proc/{pid}")

    def test_it_is_asked_by_the_signal_that_is_wanted(self) -> None:
        with (
            pytest.raises(ValueError, match="interrupted"),
            spawn(
                ["sh", "-c", "trap 'exit 7' INT; echo; read _"], stdin=PIPE, stdout=PIPE, ask=signal.SIGINT
            ) as process,
        ):
            fail(process)
        assert process.returncode == 7

    def test_a_program_that_does_not_heed_that_is_killed(self) -> None:
        with pytest.raises(ValueError, match="interrupted"), spawn(STUBBORN, stdout=PIPE, grace=0.1) as process:
            fail(process)
        assert process.returncode == -signal.SIGKILL

    @pytest.mark.parametrize("fails", [False, True])
    def test_the_end_of_its_input_may_be_what_ends_it(self, fails: bool) -> None:
        program = ["sh", "-c", "echo; cat; exit 7"]
        try:
            with spawn(program, stdin=PIPE, stdout=PIPE, ask=None, grace=60) as process:
                if fails:
                    fail(process)
        except ValueError:
            pass
        assert process.returncode == 7

    def test_a_program_that_outlives_its_input_is_killed(self) -> None:
        with spawn(["sleep", "60"], stdin=PIPE, ask=None, grace=0.1) as process:
            pass
        assert process.returncode == -signal.SIGKILL

    def test_it_reads_nothing_unless_that_is_wanted(self) -> None:
        with spawn(["cat"], stdout=PIPE) as process:
            assert process.stdout
            assert process.stdout.read() == b""

    def test_a_program_that_is_not_there_is_named(self) -> None:
        with pytest.raises(HostError, match="the program no-such-program is not installed"), spawn(["no-such-program"]):
            pass

    def test_a_program_that_is_not_there_is_named_also_where_the_search_path_has_what_may_not_be_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "no-such-program").touch(0o644)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        with pytest.raises(HostError, match="the program no-such-program is not installed"), spawn(["no-such-program"]):
            pass

    def test_a_program_that_would_die_with_us_and_is_not_there_is_named(self) -> None:
        with pytest.raises(HostError, match="the program no-such-program is not installed"):
            run(["no-such-program"], dies_with_us=signal.SIGKILL)

    def test_a_program_dies_with_us_if_that_is_wanted_even_when_we_are_killed(self) -> None:
        code = (
            "import signal\nfrom lago.host.programs import run\n"
            "run(['sh', '-c', 'echo $$; exec sleep 60'], capture=False, dies_with_us=signal.SIGTERM)"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as ours:
            assert ours.stdout
            with waiting.pidfd(int(ours.stdout.readline())) as theirs:
                ours.kill()
                assert waiting.wait_for_end(theirs, 60)

    def test_programs_of_root_are_found_by_everybody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nonexistent")
        assert run(["ldconfig", "--version"]).text
        assert os.path.dirname(which("ldconfig") or "") in search_path().split(":")


@pytest.mark.programs
class TestRun:
    def test_output_goes_to_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "file"
        status = run(["sh", "-c", "echo out; echo err >&2"], output=str(file))
        assert (status, file.read_bytes()) == ((0, b"", b"err\n"), b"out\n")

    def test_a_failure_has_the_last_words_of_the_output_if_there_are_no_others(self) -> None:
        with pytest.raises(CommandError) as raised:
            run(["sh", "-c", "echo first; echo last; exit 1"])
        assert raised.value.details == "first\nlast"


class TestWords:
    def test_what_is_no_utf_8_is_replaced(self) -> None:
        status = CommandStatus(0, b"a\xff\n", b"b\xfe")
        assert (status.text, status.error_text, status.complaint) == ("a\ufffd\n", "b\ufffd", "b\ufffd")

    def test_the_output_is_the_complaint_of_who_has_no_other(self) -> None:
        assert CommandStatus(1, b"out", b"").complaint == "out"
        assert CommandStatus(1, b"1\n2\n3\n\n", b"").tail(2) == "2\n3"

    def test_a_tail_has_no_more_than_there_is(self) -> None:
        assert (tail("1\n2\n", 3), tail("", 3)) == ("1\n2", "")
