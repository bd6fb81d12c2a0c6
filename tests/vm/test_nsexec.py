"""`lago nsexec`: programs of the host inside the environment's network."""

from __future__ import annotations

from pathlib import Path

import pytest

from .box import THREE, Box
from .terminal import Terminal


@pytest.fixture
def three(module_box: Box) -> Box:
    """One of three machines runs, on one of two nets."""
    if not module_box.prefix.exists():
        module_box.write(THREE)
        module_box.lago("init")
    if module_box.states()["web"] != "running":
        module_box.lago("start", "web")
    return module_box


def test_what_is_not_started_has_no_network(box: Box) -> None:
    box.write(THREE)
    box.lago("init")
    done = box.lago("nsexec", "--", "true", code=2)
    assert done.err == "lago: the environment is not running\nhint: lago start\n"
    assert "hint: lago nsexec -- CMD" in box.lago("nsexec", code=2).err


def test_it_has_its_own_exit_status_input_and_output(three: Box) -> None:
    done = three.lago("nsexec", "--", "sh", "-c", "cat; echo err >&2; exit 9", data="in\n", code=9)
    assert (done.out, done.err) == ("in\n", "err\n")
    assert three.lago("nsexec", "echo", "--", "-x", "a  b").out == "-- -x a  b\n"
    assert three.lago("nsexec", "--", "sh", "-c", "kill -TERM $$", code=None).code in (-15, 143)
    assert three.lago("nsexec", "--", "no-such-program", code=127).out == ""


def test_it_sees_the_networks_of_the_environment_alone(three: Box) -> None:
    addresses = three.lago("nsexec", "--", "ip", "-o", "-4", "addr").out
    assert "192.168.200.1/24" in addresses
    assert "100.64.77." in addresses
    assert "192.168.201.1" not in addresses
    processes = three.lago("nsexec", "--", "ps", "-e", "-o", "comm=").out.splitlines()
    assert {"libvirtd", "dnsmasq"} <= set(processes)


def test_it_reaches_machines_by_name(three: Box) -> None:
    assert three.lago("nsexec", "--", "getent", "ahostsv4", "app").out.split()[0] == "192.168.200.3"
    assert three.lago("nsexec", "--", "bash", "-c", "exec 3<>/dev/tcp/web/22; head -c 4 <&3").out == "SSH-"


def test_it_keeps_the_directory_files_and_variables(three: Box) -> None:
    three.write("content\n", "file")
    done = three.lago("nsexec", "--", "sh", "-c", "pwd; cat file; echo $GREETING; id -u", env={"GREETING": "hello"})
    assert done.out == f"{three.place}\ncontent\nhello\n0\n"


def test_it_has_the_terminal(three: Box) -> None:
    with Terminal(three, "nsexec", "--", "sh", "-c", "tty; read x; echo got $x; exit 4") as terminal:
        terminal.expect("/dev/pts/")
        terminal.type("this\n")
        terminal.expect("got this")
        assert terminal.wait() == 4


def test_a_new_user_of_the_host_takes_no_name_from_libvirt(three: Box, request: pytest.FixtureRequest) -> None:
    known = ["nsexec", "--", "getent", "passwd", "libvirt-qemu"]
    inside, servers = three.lago(*known).out, three.lago("nsexec", "--", "cat", "/etc/resolv.conf").out
    # It replaces files of /etc that are others there.
    request.getfixturevalue("throwaway_user")
    assert three.lago(*known).out == inside
    assert three.lago("nsexec", "--", "cat", "/etc/resolv.conf").out == servers
    # What leads elsewhere still does, and what is there is as it was.
    assert three.lago("nsexec", "--", "sh", "-c", "cat /etc/os-release /etc/hosts").out == "".join(
        Path(path).read_text() for path in ("/etc/os-release", "/etc/hosts")
    )
