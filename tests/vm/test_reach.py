"""Guests from the host: `lago forward`, `lago ssh-config`, and the same from Python."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest

from lago import Prefix
from lago.errors import VMNotFound
from lago.virt import VirtEnv

from .box import ONE, Box


@pytest.fixture(scope="module")
def one(module_box: Box) -> Box:
    """One machine that runs, and a file that tells ssh of it."""
    module_box.up_warm(ONE)
    module_box.lago("ssh-config", "--output", "lab.conf")
    return module_box


@pytest.fixture(scope="module")
def env(one: Box) -> Iterator[VirtEnv]:
    """The environment."""
    found = Prefix(str(one.prefix)).virt_env
    yield found
    found.close()


def _run(box: Box, *words: str, data: str = "") -> str:
    done = subprocess.run(words, cwd=box.place, input=data, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def _banner(host: str, port: int) -> bytes:
    with socket.create_connection((host, port), 10) as client:
        client.settimeout(30)
        return client.recv(4)


def test_ports_are_forwarded_until_control_c(one: Box) -> None:
    with one.until_interrupted("forward", "vm0", "22", "22:./vm0.sock") as process:
        assert process.stdout is not None
        place, _, rest = process.stdout.readline().partition(" -> ")
        assert rest == "vm0 port 22\n"
        assert process.stdout.readline() == "./vm0.sock -> vm0 port 22\n"
        host, port = place.split(":")
        assert _banner(host, int(port)) == b"SSH-"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(one.place / "vm0.sock"))
            assert client.recv(4) == b"SSH-"
    assert not (one.place / "vm0.sock").exists()


def test_a_forward_says_where_it_is_as_data_too(one: Box) -> None:
    with one.until_interrupted("-f", "json", "forward", "vm0", "22") as process:
        assert process.stdout is not None
        text = ""
        while not text.endswith("]\n"):
            text += process.stdout.readline()
        [said] = json.loads(text)
        assert (said["vm"], said["port"], said["host"]) == ("vm0", 22, "127.0.0.1")
        assert _banner(said["host"], said["host_port"]) == b"SSH-"


def test_wrong_ports_and_machines_are_refused(one: Box) -> None:
    assert "'0' is no port" in one.lago("forward", "vm0", "0", code=2).err
    assert "'x' is no port" in one.lago("forward", "vm0", "22:x", code=2).err
    assert "hint: did you mean vm0?" in one.lago("forward", "vm", "22", code=2).err
    assert (
        "no/such/file: No such file or directory\nhint: mkdir -p"
        in one.lago("ssh-config", "--output", "no/such/file", code=2).err
    )
    assert "hint: did you mean vm0?" in one.lago("ssh-config", "vm", code=2).err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "Address already in use" in one.lago("forward", "vm0", f"22:{port}", code=2).err


def test_python_connects_and_forwards(env: VirtEnv) -> None:
    with env.connect("vm0", 22) as client:
        assert client.recv(4) == b"SSH-"
    with pytest.raises(ConnectionError, match="refused"):
        env.connect("vm0", 1, timeout=0.3)
    with pytest.raises(VMNotFound):
        env.connect("vm1", 22)
    with env.get_vm("vm0").forward(22) as (host, port):
        assert _banner(host, port) == b"SSH-"
    with pytest.raises(ConnectionRefusedError):
        _banner(host, port)


def test_ssh_scp_sftp_and_rsync_take_the_configuration(one: Box) -> None:
    assert _run(one, "ssh", "-F", "lab.conf", "vm0", "hostname; cat", data="in") == "vm0\nin"
    (one.place / "file").write_text("content")
    _run(one, "scp", "-F", "lab.conf", "file", "vm0:/tmp/one")
    _run(one, "sftp", "-b", "-", "-F", "lab.conf", "vm0", data="rename /tmp/one /tmp/two\nget /tmp/two back\n")
    assert (one.place / "back").read_text() == "content"
    if shutil.which("rsync") and one.lago("shell", "vm0", "-c", "command -v rsync", code=None).code == 0:
        _run(one, "rsync", "-e", "ssh -F lab.conf", "file", "vm0:/tmp/three")


@pytest.mark.slow
def test_the_configuration_lasts_over_a_restart_and_says_when_nothing_runs(one: Box) -> None:
    one.lago("stop")
    done = subprocess.run(
        ["ssh", "-F", "lab.conf", "vm0", "true"], cwd=one.place, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 255
    assert "lago: the environment is not running\nhint: lago -p" in done.stderr
    one.lago("start")
    assert _run(one, "ssh", "-F", "lab.conf", "vm0", "hostname") == "vm0\n"
