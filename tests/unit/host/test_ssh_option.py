"""How values are spelled for OpenSSH, read by the ssh that is here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lago.host import ssh_option

NASTY = [
    "/a b/c\"d'e%f \u00fc",
    "/back\\slash\\",
    "/\\\"\\'",
    "/#no comment",
    "/a=b",
    "/-x/ -oy=z",
    "/$HOME/~/%h%%",
    "/'only one",
    "/comma,colon:semicolon;",
]
"""Paths that ssh, or a shell, could take for something else."""


def _understood(option: str, *argv: str) -> str:
    said = subprocess.check_output(["ssh", *argv, "-G", "--", "root@192.0.2.7"], text=True, stderr=subprocess.DEVNULL)
    [value] = [line.removeprefix(f"{option} ") for line in said.splitlines() if line.startswith(f"{option} ")]
    return value


@pytest.mark.programs
@pytest.mark.parametrize("path", NASTY)
def test_a_path_reaches_ssh_as_it_is(path: str, tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(f"Host *\n    ControlPath {ssh_option.quote(path)}\n", encoding="utf-8")
    for argv in (["-F", str(file)], ["-F", "/dev/null", f"-oControlPath={ssh_option.quote(path)}"]):
        assert _understood("controlpath", *argv) == path


@pytest.mark.programs
@pytest.mark.parametrize("path", NASTY)
def test_a_command_is_run_with_the_words_that_were_meant(path: str, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    command = ssh_option.command(["sh", "-c", 'printf "%s\\n" "$@" >"$0"; exit 1', str(seen), path, "%h"])
    file = tmp_path / "config"
    file.write_text(f"Host *\n    ProxyCommand {command}\n", encoding="utf-8")
    for argv in (["-F", str(file)], ["-F", "/dev/null", f"-oProxyCommand={command}"]):
        subprocess.run(["ssh", *argv, "-oBatchMode=yes", "--", "192.0.2.7"], capture_output=True, check=False)
        assert seen.read_text(encoding="utf-8").splitlines() == [path, "%h"]
        os.unlink(seen)
