"""The channel functions on a real channel to a real guest, and the environment they need through the API."""

from __future__ import annotations

import io
import os
import pty
from collections.abc import Iterator
from typing import Any

import paramiko
import pytest

from lago import Prefix
from lago.utils import drain_ssh_channel, interactive_ssh_channel

ONE = "domains: {vm0: {memory: 128, vcpu: 1, disks: [{template_name: mini}], nics: [{net: lan}]}}\nnets: {lan: {}}\n"


@pytest.fixture(scope="module")
def prefix(module_box: Any) -> Iterator[Prefix]:
    """An environment with one machine that runs."""
    module_box.up_warm(ONE)
    found = Prefix(str(module_box.prefix))
    found.start()
    assert found.virt_env.get_vm("vm0").alive()
    yield found
    found.stop()
    assert not found.virt_env.get_vm("vm0").alive()


@pytest.fixture(scope="module")
def transport(prefix: Prefix) -> Iterator[paramiko.Transport]:
    """An ssh connection of paramiko's to the machine."""
    guest = prefix.guest("vm0")
    found = paramiko.Transport(prefix.hypervisor.connect(guest.address, 22, 60))
    found.banner_timeout = found.handshake_timeout = found.auth_timeout = 120
    found.start_client(timeout=120)
    found.auth_publickey(guest.user, paramiko.Ed25519Key.from_private_key_file(guest.key))
    yield found
    found.close()


def test_drain_ssh_channel_shows_and_returns_what_a_command_says(transport: paramiko.Transport) -> None:
    channel = transport.open_session()
    channel.exec_command("cat; echo err >&2; exit 3")
    out, err = io.BytesIO(), io.StringIO()
    assert drain_ssh_channel(channel, stdin=io.BytesIO(b"\xffin"), stdout=out, stderr=err) == (3, b"\xffin", b"err\n")
    assert (out.getvalue(), err.getvalue()) == (b"\xffin", "err\n")


def test_drain_ssh_channel_moves_a_megabyte_both_ways(transport: paramiko.Transport) -> None:
    data = os.urandom(1 << 20)
    channel = transport.open_session()
    channel.exec_command("cat")
    status = drain_ssh_channel(channel, stdin=io.BytesIO(data), stdout=io.BytesIO())
    assert (status.code, status.out == data) == (0, True)


def test_interactive_ssh_channel_gives_a_command_our_terminal(transport: paramiko.Transport) -> None:
    master, slave = pty.openpty()
    with os.fdopen(slave, "rb", buffering=0) as stdin, os.fdopen(master, "wb", buffering=0):
        status = interactive_ssh_channel(transport.open_session(), "test -t 0 && echo a terminal; exit 4", stdin=stdin)
    assert status.code == 4
    assert b"a terminal" in status.out


def test_interactive_ssh_channel_starts_a_shell(transport: paramiko.Transport) -> None:
    status = interactive_ssh_channel(transport.open_session(), stdin=io.StringIO("echo $((40 + 2))\nexit 5\n"))
    assert status.code == 5
    assert b"42" in status.out
