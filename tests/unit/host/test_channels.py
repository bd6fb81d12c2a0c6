"""The channel functions against an ssh server in this process."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import paramiko
import pytest

from lago.errors import SSHError
from lago.utils import drain_ssh_channel, interactive_ssh_channel

Command = Callable[[paramiko.Channel], None]


class Server(paramiko.ServerInterface):
    """Lets anybody in and runs a function as every command."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self.asked: list[Any] = []

    def check_auth_none(self, username: str) -> int:  # noqa: ARG002 - the names are paramiko's
        return paramiko.common.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_pty_request(self, _channel: Any, term: Any, width: Any, height: Any, *_: Any) -> bool:
        self.asked.append(("pty", term, width, height))
        return True

    def check_channel_shell_request(self, channel: paramiko.Channel) -> bool:
        return self.check_channel_exec_request(channel, b"<shell>")

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.asked.append(command)
        # The answer to the request goes first.
        threading.Timer(0.1, self._command, [channel]).start()
        return True


class World:
    """A client and its server."""

    def __init__(self, command: Command) -> None:
        ours, theirs = socket.socketpair()
        self.server = Server(command)
        self.far = paramiko.Transport(theirs)
        self.far.add_server_key(paramiko.ECDSAKey.generate())
        self.far.start_server(event=threading.Event(), server=self.server)
        self.near = paramiko.Transport(ours)
        self.near.start_client(timeout=60)
        self.near.auth_none("root")

    def channel(self) -> paramiko.Channel:
        return self.near.open_session()


@pytest.fixture
def world() -> Iterator[Callable[[Command], World]]:
    made: list[World] = []

    def make(command: Command) -> World:
        made.append(World(command))
        return made[-1]

    yield make
    for one in made:
        one.near.close()
        one.far.close()


def ends(channel: paramiko.Channel, code: int = 0) -> None:
    channel.send_exit_status(code)
    # Who has the status may be gone by now.
    with contextlib.suppress(EOFError, OSError):
        channel.close()


def talks(channel: paramiko.Channel) -> None:
    """A command that says something on both ways and fails."""
    channel.sendall(b"out\n")
    channel.sendall_stderr(b"err\n")
    ends(channel, 3)


def echoes(channel: paramiko.Channel) -> None:
    """A command that says what it reads, until there is no more."""
    while data := channel.recv(4096):
        channel.sendall(data)
    ends(channel)


def test_output_is_shown_and_returned_with_the_status(world: Callable[[Command], World]) -> None:
    channel = world(talks).channel()
    channel.exec_command("talk")
    out, err = io.StringIO(), io.BytesIO()
    assert drain_ssh_channel(channel, stdout=out, stderr=err) == (3, b"out\n", b"err\n")
    assert (out.getvalue(), err.getvalue()) == ("out\n", b"err\n")


def test_output_goes_to_ours_by_default(world: Callable[[Command], World], capsys: pytest.CaptureFixture[str]) -> None:
    channel = world(talks).channel()
    channel.exec_command("talk")
    drain_ssh_channel(channel)
    assert capsys.readouterr() == ("out\n", "err\n")


@pytest.mark.parametrize("stdin", [io.BytesIO(b"\xffin" * 100000), io.StringIO("in" * 200000)], ids=["bytes", "text"])
def test_input_is_fed_to_its_end_however_long_it_is(world: Callable[[Command], World], stdin: Any) -> None:
    channel = world(echoes).channel()
    channel.exec_command("echo")
    status = drain_ssh_channel(channel, stdin=stdin, stdout=io.BytesIO())
    fed = stdin.getvalue()
    assert (status.code, status.out) == (0, fed if isinstance(fed, bytes) else fed.encode())


def test_input_comes_from_a_pipe_as_it_arrives(world: Callable[[Command], World]) -> None:
    channel = world(echoes).channel()
    channel.exec_command("echo")
    read, write = os.pipe()

    def later() -> None:
        for word in (b"one", b"two"):
            time.sleep(0.1)
            os.write(write, word)
        os.close(write)

    threading.Thread(target=later, daemon=True).start()
    with os.fdopen(read, "rb") as stdin:
        assert drain_ssh_channel(channel, stdin=stdin, stdout=io.BytesIO()).out == b"onetwo"


def test_without_input_a_command_that_reads_comes_to_its_end(world: Callable[[Command], World]) -> None:
    channel = world(echoes).channel()
    channel.exec_command("echo")
    assert drain_ssh_channel(channel, stdout=io.BytesIO()) == (0, b"", b"")


def test_a_command_that_reads_nothing_may_end_before_its_input(world: Callable[[Command], World]) -> None:
    channel = world(talks).channel()
    channel.exec_command("talk")
    status = drain_ssh_channel(channel, stdin=io.BytesIO(b"x" * 9_000_000), stdout=io.BytesIO(), stderr=io.BytesIO())
    assert status.code == 3


def test_d36_output_that_is_no_utf8_is_shown_as_far_as_it_can_be(world: Callable[[Command], World]) -> None:
    def command(channel: paramiko.Channel) -> None:
        channel.sendall("ä".encode()[:1])
        time.sleep(0.05)
        channel.sendall("ä".encode()[1:] + b"\xff")
        channel.sendall_stderr(b"\xfe")
        ends(channel)

    channel = world(command).channel()
    channel.exec_command("talk")
    out, err = io.StringIO(), io.StringIO()
    assert drain_ssh_channel(channel, stdout=out, stderr=err) == (0, "ä".encode() + b"\xff", b"\xfe")
    assert (out.getvalue(), err.getvalue()) == ("ä\ufffd", "\ufffd")


def test_a_lost_connection_is_no_status(world: Callable[[Command], World]) -> None:
    one = world(lambda _channel: one.far.close())
    channel = one.channel()
    channel.exec_command("talk")
    with pytest.raises(SSHError, match="lost before the command ended"):
        drain_ssh_channel(channel, stdout=io.BytesIO(), stderr=io.BytesIO())


class TestInteractive:
    def test_a_command_runs_without_a_terminal_where_we_have_none(self, world: Callable[[Command], World]) -> None:
        one = world(echoes)
        status = interactive_ssh_channel(one.channel(), "cat", stdin=io.StringIO("in"))
        assert (status.out, one.server.asked) == (b"in", [b"cat"])

    def test_a_shell_is_the_default(self, world: Callable[[Command], World]) -> None:
        one = world(echoes)
        interactive_ssh_channel(one.channel(), stdin=io.StringIO())
        assert one.server.asked == [b"<shell>"]

    def test_our_terminal_is_raw_meanwhile_and_as_before_afterwards(
        self, world: Callable[[Command], World], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import termios

        monkeypatch.setenv("TERM", "xterm")
        master, slave = pty.openpty()
        during: list[Any] = []

        def command(channel: paramiko.Channel) -> None:
            during.append(termios.tcgetattr(slave))
            os.write(master, b"\x03")
            channel.sendall(channel.recv(100))
            ends(channel)

        one = world(command)
        with os.fdopen(slave, "rb", buffering=0) as stdin, os.fdopen(master, "wb", buffering=0):
            before = termios.tcgetattr(slave)
            status = interactive_ssh_channel(one.channel(), "cat", stdin=stdin)
            assert termios.tcgetattr(slave) == before
        assert status.out == b"\x03"
        assert one.server.asked == [("pty", b"xterm", 80, 24), b"cat"]
        assert not during[0][3] & termios.ECHO
