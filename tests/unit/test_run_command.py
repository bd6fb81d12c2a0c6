"""The documented ways to run programs, log and write JSON."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path

import pytest

from lago import log, utils
from lago.errors import HostError
from lago.host import programs


@pytest.mark.programs
class TestRunCommand:
    def test_status_and_output_come_back_whatever_they_are(self) -> None:
        status = utils.run_command(["sh", "-c", "cat; echo err >&2; exit 3"], input_data="in")
        assert status == programs.CommandStatus(code=3, out=b"in", err=b"err\n")
        assert bool(status)
        assert not utils.run_command(["true"])

    def test_without_data_its_input_is_closed(self) -> None:
        assert utils.run_command(["cat"]).out == b""

    def test_output_goes_where_it_is_sent(self, tmp_path: Path) -> None:
        with open(tmp_path / "out", "wb") as out:
            status = utils.run_command(["sh", "-c", "echo out; echo err >&2"], out_pipe=out, err_pipe=subprocess.STDOUT)
        assert (status.out, tmp_path.joinpath("out").read_bytes()) == (b"", b"out\nerr\n")

    def test_more_arguments_are_those_of_popen(self, tmp_path: Path) -> None:
        assert utils.run_command(["pwd"], cwd=tmp_path).out.decode().strip() == str(tmp_path)

    def test_d12_the_search_path_keeps_its_order_and_the_callers_environment_stays_as_it_is(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", "/usr/bin:/bin:/sbin")
        env = {"PATH": "/theirs/b:/theirs/a:/bin", "KEY": "value"}
        status = utils.run_command(["/bin/sh", "-c", "echo $PATH $KEY"], env=env)
        assert status.out == b"/usr/libexec/lago/:/theirs/b:/theirs/a:/bin:/usr/bin:/sbin value\n"
        assert env == {"PATH": "/theirs/b:/theirs/a:/bin", "KEY": "value"}
        assert os.environ["PATH"] == "/usr/bin:/bin:/sbin"

    def test_a_program_that_is_not_there_is_named(self) -> None:
        with pytest.raises(HostError, match="the program no-such-program is not installed"):
            utils.run_command(["no-such-program"])

    @pytest.mark.parametrize(("status", "enabled"), [(0, True), (1, False)])
    def test_a_service_is_enabled_if_systemd_says_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, enabled: bool
    ) -> None:
        program = tmp_path / "systemctl"
        program.write_text(f'#!/bin/sh\n[ "$*" = "is-enabled --quiet sshd" ] || exit 9\nexit {status}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        assert utils.service_is_enabled("sshd") is enabled


def test_json_is_dumped_indented_by_four() -> None:
    file = io.StringIO()
    utils.json_dump({"b": [1], "a": None}, file)
    assert file.getvalue() == '{\n    "a": null,\n    "b": [\n        1\n    ]\n}\n'


def test_d34_logging_can_be_set_up_again_and_again_without_more_handlers(tmp_path: Path) -> None:
    for directory in ("first", "second", "second"):
        utils.setup_logging(str(tmp_path / directory))
    log.LOG.debug("told")
    text = tmp_path.joinpath("second", "lago.log").read_text()
    assert text.count("told") == 1
    assert "::lago::DEBUG::told" in text
    assert not tmp_path.joinpath("first", "lago.log").exists()


def test_set_up_logging_shows_what_the_configuration_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAGO_LOG_LEVEL", "error")
    utils.setup_logging(str(tmp_path))
    log.LOG.warning("hidden")
    with log.task("hidden too"):
        pass
    assert capsys.readouterr().err == ""
