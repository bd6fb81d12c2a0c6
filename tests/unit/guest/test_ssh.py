"""ssh: what is asked of the OpenSSH client, and what its answers mean."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lago.errors import HostError, SSHError
from lago.guest.ssh import Guest
from lago.host import streams
from lago.host.ssh_option import quote


def guest(place: Path, wrap: Sequence[str] = ()) -> Guest:
    return Guest(
        name="vm0",
        user="root",
        address="192.0.2.7",
        key=str(place / "key"),
        control=str(place / "c"),
        wrap=lambda argv: [*wrap, *argv],
    )


@pytest.fixture
def master(base: Path) -> Iterator[Path]:
    """A directory in which something listens where a master would."""
    place = base / "tmp" / f"m{time.monotonic_ns()}"
    place.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(place / "c"))
        listener.listen()
        yield place


def fake_ssh(place: Path, script: str, monkeypatch: pytest.MonkeyPatch, interpreter: str = "/bin/sh") -> None:
    """Put a program called ssh in front of the real one."""
    program = place / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f"#!{interpreter}\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_a_socket_that_nobody_listens_at_is_no_connection(tmp_path: Path, master: Path) -> None:
    assert not guest(tmp_path).connected()
    assert guest(master).connected()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(master / "d"))
    assert not guest(master)._replace(control=str(master / "d")).connected()


def test_a_client_never_connects_by_itself_and_reads_no_configuration(tmp_path: Path) -> None:
    argv = guest(tmp_path, wrap=["inside"]).argv("true")
    assert argv[:3] == ["ssh", "-F", "/dev/null"]
    assert {"-oControlMaster=no", "-oProxyCommand=false", f"-oControlPath={quote(f'{tmp_path}/c')}", "-T"} <= set(argv)
    assert argv[-3:] == ["--", "root@192.0.2.7", "true"]


def test_a_client_with_a_terminal_is_where_the_master_is(tmp_path: Path) -> None:
    argv = guest(tmp_path, wrap=["inside"]).terminal_argv("bash")
    assert argv[:2] == ["inside", "ssh"]
    assert "-t" in argv


def test_the_status_of_ssh_itself_is_a_lost_connection_unless_the_master_lives(tmp_path: Path, master: Path) -> None:
    guest(master).check(255)
    for code in (0, 1, 254):
        guest(tmp_path).check(code)
    with pytest.raises(SSHError, match=r"the connection to root@192\.0\.2\.7 was lost") as caught:
        guest(tmp_path).check(255, "details")
    assert caught.value.details == "details"
    assert "console log" in caught.value.hint


@pytest.mark.programs
def test_a_command_is_quoted_if_it_is_a_list(master: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_ssh(master, 'for last; do :; done; printf %s "$last"', monkeypatch)
    assert guest(master).run(["echo", "a  b", "$x"]).out == b"echo 'a  b' '$x'"
    assert guest(master).run("echo $x").out == b"echo $x"


@pytest.mark.programs
def test_a_commands_end_and_output_are_returned(master: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_ssh(master, "cat; echo err >&2; exit 7", monkeypatch)
    assert guest(master).run("x", data=b"in") == (7, b"in", b"err\n")


@pytest.mark.programs
def test_a_refused_login_is_told_with_what_ssh_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = 'while [ "$1" != -E ]; do shift; done; echo "Permission denied" >"$2"; exit 255'
    fake_ssh(tmp_path, script, monkeypatch)
    with pytest.raises(SSHError, match="can't be logged in to") as caught:
        guest(tmp_path).open(5)
    assert caught.value.details == "Permission denied\n"


@pytest.mark.programs
@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("NoSuchOption=1", "Bad configuration option: nosuchoption"),
        ("IdentityFile=/a b", "extra arguments at end of line"),
        ("ControlPath=/50%off", "unknown key %o"),
        ("ConnectTimeout=soon", "invalid time value"),
    ],
)
def test_an_ssh_that_does_not_take_its_command_line_is_told_at_once_with_its_words(
    tmp_path: Path, option: str, said: str
) -> None:
    one = guest(tmp_path)._replace(wrap=lambda argv: [argv[0], f"-o{option}", *argv[1:]])
    with pytest.raises(HostError, match="vm0: ssh can't be used to log in") as caught:
        one.open(60)
    assert said in caught.value.details


@pytest.mark.programs
@pytest.mark.parametrize("name", ["a b", "c\"d'e", "f%g", "\u00fc", "-h\\"])
def test_no_name_of_a_place_is_a_mistake_for_ssh(base: Path, name: str) -> None:
    place = base / "tmp" / name
    place.mkdir()
    (place / "key").touch(mode=0o600)
    # Nobody listens there, and it is found out.
    one = guest(place)._replace(address="127.0.0.1", wrap=lambda argv: [argv[0], "-p1", *argv[1:]])
    with pytest.raises(SSHError, match="can't be logged in to") as caught:
        one.open(60)
    assert caught.value.details == "ssh: connect to host 127.0.0.1 port 1: Connection refused\n"


@pytest.mark.programs
def test_a_user_that_looks_like_an_option_is_none(tmp_path: Path) -> None:
    one = guest(tmp_path)._replace(user="-V", address="127.0.0.1")
    with pytest.raises((SSHError, HostError)):
        one.open(60)


@pytest.mark.programs
def test_no_answer_is_told_in_time_and_ssh_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The file is there only with its content.
    fake_ssh(tmp_path, f"cd {shlex.quote(str(tmp_path))}; echo $$ >new; mv new pid; exec sleep 60", monkeypatch)
    began = time.monotonic()
    with pytest.raises(SSHError, match="no answer within"):
        guest(tmp_path).open(100, given_up=(tmp_path / "pid").exists)
    assert time.monotonic() - began < 50
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.programs
def test_a_guest_that_refuses_each_session_is_given_up(
    tmp_path: Path, master: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse = """
    for word; do case $word in -oProxyCommand=*) echo "${word#-oProxyCommand=}" | sed s/%%/%/g | sh ;; esac; done
    echo >>$0.asked
    exit 255
    """
    fake_ssh(tmp_path, refuse, monkeypatch)
    with contextlib.ExitStack() as stack:
        for number in range(1, 30):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(f"{master / 'c'}+{number}")
            listener.listen()
        with pytest.raises(SSHError, match="lets us log in, and refuses to run a command each time") as raised:
            guest(master).run("true")
    assert "MaxSessions" in raised.value.hint
    assert len((tmp_path / "bin" / "ssh.asked").read_text().splitlines()) == 10


@pytest.mark.programs
def test_of_endless_output_the_end_is_kept(master: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST", 1 << 16)
    fake_ssh(tmp_path, "head -c 5000000 /dev/zero; echo end", monkeypatch)
    found = guest(master).run("true")
    assert (len(found.out), found.out[-5:]) == (1 << 16, b"\0end\n")


def test_a_missing_ssh_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match="ssh is not installed") as caught:
        guest(tmp_path).open(1)
    assert caught.value.hint == "apt-get install openssh-client"


@pytest.mark.programs
def test_clients_get_no_window_changes(master: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Some shells begin with no signal blocked, and the path of this Python may have a space in it.
    fake_ssh(master, 'print(*open("/proc/self/status"))', monkeypatch, "/usr/bin/env python3")
    [line] = [line for line in guest(master).run("x").out.splitlines() if b"SigBlk" in line]
    blocked = int(line.split()[1], 16)
    assert blocked >> (signal.SIGWINCH - 1) & 1
    assert signal.SIGWINCH not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
