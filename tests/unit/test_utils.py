"""The base services: programs, parallel work, atomic files, locks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lago import utils
from lago.errors import CommandError, Errors, HostError, LockTimeout
from lago.host import parallel
from lago.host.files import json_text, synced_together, write_atomically


@pytest.mark.programs
class TestRun:
    def test_output_and_status_come_back(self) -> None:
        status = utils.run(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
        assert status == (3, b"out\n", b"err\n")

    def test_a_status_is_true_when_the_command_failed(self) -> None:
        assert not utils.run(["true"])
        assert utils.run(["false"], check=False)

    def test_a_failure_raises_with_the_end_of_what_it_said_and_the_hint(self) -> None:
        with pytest.raises(CommandError) as raised:
            utils.run(["sh", "-c", "seq 100 >&2; exit 3"], hint="try again")
        assert (raised.value.code, raised.value.hint) == (3, "try again")
        assert raised.value.details.splitlines() == [str(n) for n in range(81, 101)]

    def test_input_is_given_or_closed(self) -> None:
        assert utils.run(["cat"], input_data=b"in").out == b"in"
        assert utils.run(["cat"]).out == b""

    def test_variables_are_added_to_ours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OURS", "1")
        assert utils.run(["sh", "-c", "echo $OURS$THEIRS"], env={"THEIRS": "2"}).out == b"12\n"

    def test_a_program_that_is_not_there_is_named_with_its_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nonexistent")
        with pytest.raises(HostError) as raised:
            utils.run(["qemu-img", "info"])
        assert "qemu-img" in raised.value.what
        assert raised.value.hint == "apt-get install qemu-utils"

    def test_a_directory_that_is_not_there_is_not_taken_for_the_program(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            utils.run(["true"], cwd=str(tmp_path / "none"))

    def test_a_program_that_takes_too_long_is_ended(self) -> None:
        began = time.monotonic()
        with pytest.raises(CommandError, match="ended by signal") as raised:
            utils.run(["sleep", "60"], timeout=0.1)
        assert "did not end within 0.1 s" in raised.value.details
        assert time.monotonic() - began < 50

    @pytest.mark.parametrize("call", ["run({}, capture=False)", "run_command({}, out_pipe=None)"])
    def test_an_interrupt_ends_the_program(self, call: str) -> None:
        # It speaks late, so that it is being waited for by then and not still being started.
        program = ["sh", "-c", "sleep 1; echo $$; exec sleep 60"]
        code = f"import lago.utils as u; u.{call.format(program)}"
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as ours:
            assert ours.stdout
            pid = int(ours.stdout.readline())
            ours.send_signal(signal.SIGINT)
            ours.wait(50)
        assert not os.path.exists(f"/proc/{pid}")


class TestInParallel:
    def test_results_come_in_order_and_the_work_is_done_at_once(self) -> None:
        meeting = threading.Barrier(3, timeout=60)

        def double(number: int) -> int:
            meeting.wait()
            return 2 * number

        assert parallel.in_parallel(double, [1, 2, 3], what="doubling") == [2, 4, 6]

    def test_nothing_to_do_is_done(self) -> None:
        assert parallel.in_parallel(str, [], what="nothing") == []

    def test_one_failure_is_raised_as_it_is_after_all_have_run(self) -> None:
        done = []

        def work(number: int) -> None:
            if number == 1:
                raise ValueError("first")
            time.sleep(0.05)
            done.append(number)

        with pytest.raises(ValueError, match="first"):
            parallel.in_parallel(work, [1, 2, 3], what="work")
        assert sorted(done) == [2, 3]

    def test_several_failures_are_all_told(self) -> None:
        def work(number: int) -> None:
            raise HostError(f"number {number}")

        with pytest.raises(Errors, match="work: 2 of 2 failed") as raised:
            parallel.in_parallel(work, [1, 2], what="work")
        assert raised.value.details.splitlines() == ["number 1", "number 2"]


class TestMeanwhile:
    def test_the_block_and_the_errand_go_on_at_once(self) -> None:
        meeting = threading.Barrier(2, timeout=60)
        with parallel.meanwhile(meeting.wait):
            meeting.wait()

    def test_what_fails_beside_the_block_is_told_after_it(self) -> None:
        def errand() -> None:
            raise HostError("the disk is full")

        done = []
        with pytest.raises(HostError, match="the disk is full"), parallel.meanwhile(errand):
            done.append("block")
        assert done == ["block"]

    def test_of_two_failures_that_of_the_block_is_told(self) -> None:
        def errand() -> None:
            raise HostError("the disk is full")

        with pytest.raises(ValueError, match="block"), parallel.meanwhile(errand):
            raise ValueError("block")


class TestWriteAtomically:
    def test_content_and_mode_are_as_asked(self, tmp_path: Path) -> None:
        write_atomically(str(tmp_path / "file"), "text", mode=0o600)
        assert tmp_path.joinpath("file").read_text() == "text"
        assert tmp_path.joinpath("file").stat().st_mode & 0o777 == 0o600

    def test_when_writing_fails_the_old_content_stays_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "file"
        file.write_text("old")

        def full(_fd: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_atomically(str(file), "new")
        assert file.read_text() == "old"
        assert os.listdir(tmp_path) == ["file"]


class TestSyncedTogether:
    @pytest.fixture
    def synced(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The paths that were synced, in order."""
        paths: list[str] = []
        real = os.fsync

        def fsync(fd: int) -> None:
            paths.append(os.readlink(f"/proc/self/fd/{fd}"))
            real(fd)

        monkeypatch.setattr(os, "fsync", fsync)
        return paths

    def test_all_of_the_directory_is_synced_at_the_end_whoever_wrote_it(
        self, tmp_path: Path, synced: list[str]
    ) -> None:
        place = tmp_path / "place"
        (place / "sub").mkdir(parents=True)
        with synced_together(str(place)):
            parallel.in_parallel(lambda n: write_atomically(f"{place}/sub/{n}", "x"), range(3), what="write")
            (place / "other").write_text("by a program")
            (place / "link").symlink_to("/dev/null")
            os.mkfifo(place / "pipe")
            assert synced == []
        files = [f"{place}/sub/{n}" for n in range(3)] + [f"{place}/other", f"{place}/sub", str(place)]
        assert sorted(synced) == sorted(files)

    def test_files_elsewhere_are_synced_at_once_and_may_go_again(self, tmp_path: Path, synced: list[str]) -> None:
        """Also in threads that the block began."""
        place, note = tmp_path / "place", tmp_path / "place-not" / "note"
        place.mkdir()
        note.parent.mkdir()
        with synced_together(str(place)):
            parallel.in_parallel(lambda path: write_atomically(str(path), "x"), [note], what="write")
            assert [os.path.dirname(path) for path in synced] == [str(note.parent)]
            note.unlink()
        assert synced[1:] == [str(place)]

    def test_a_block_that_fails_syncs_nothing(self, tmp_path: Path, synced: list[str]) -> None:
        def fail() -> None:
            with synced_together(str(tmp_path)):
                write_atomically(str(tmp_path / "file"), "x")
                raise HostError("the disk is full")

        with pytest.raises(HostError):
            fail()
        assert synced == []
        write_atomically(str(tmp_path / "file"), "x")
        assert len(synced) == 1


class TestLockFile:
    def test_a_second_holder_waits_in_vain_and_is_told_who_has_it(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = str(tmp_path / "lock")
        with (
            utils.lock_file(path, what="the prefix"),
            pytest.raises(LockTimeout) as raised,
            utils.lock_file(path, what="the prefix", timeout=1.2),
        ):
            pass
        assert f"the prefix is still in use by process {os.getpid()}" in raised.value.what
        assert [record.levelname for record in caplog.records] == ["WARNING"]

    def test_a_lock_that_is_freed_is_taken(self, tmp_path: Path) -> None:
        path = str(tmp_path / "lock")
        with utils.lock_file(path, what="it"):
            pass
        with utils.lock_file(path, what="it", timeout=0):
            pass

    def test_readers_share(self, tmp_path: Path) -> None:
        path = str(tmp_path / "lock")
        with utils.lock_file(path, what="it", shared=True), utils.lock_file(path, what="it", shared=True, timeout=0):
            pass
        with utils.lock_file(path, what="it", shared=True), pytest.raises(LockTimeout):  # noqa: SIM117
            with utils.lock_file(path, what="it", timeout=0):
                pass

    @pytest.mark.programs
    def test_the_lock_of_a_killed_process_is_free(self, tmp_path: Path) -> None:
        path = str(tmp_path / "lock")
        code = (
            "import lago.utils as u, sys, time\n"
            f"with u.lock_file({path!r}, what='it'):\n print(flush=True)\n time.sleep(60)\n"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
            assert holder.stdout
            holder.stdout.readline()
            holder.kill()
        with utils.lock_file(path, what="it", timeout=30):
            pass


def test_a_program_without_a_known_package_has_one_of_its_name() -> None:
    assert utils.package_hint("mmdebstrap") == "apt-get install mmdebstrap"


def test_json_is_the_same_for_the_same_data() -> None:
    assert json_text({"b": 1, "a": [2]}) == '{\n    "a": [\n        2\n    ],\n    "b": 1\n}\n'
