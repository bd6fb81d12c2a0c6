"""What service managers say, as states."""

from __future__ import annotations

import pytest

from lago.errors import LagoError
from lago.host.programs import CommandStatus
from lago.plugins.contracts import ServiceState
from lago.services import provider, systemd, sysvinit


@pytest.mark.parametrize(
    ("load", "active", "state"),
    [
        ("loaded", "active", ServiceState.ACTIVE),
        ("loaded", "reloading", ServiceState.ACTIVE),
        ("loaded", "inactive", ServiceState.INACTIVE),
        ("loaded", "failed", ServiceState.INACTIVE),
        ("loaded", "activating", ServiceState.INACTIVE),
        ("masked", "inactive", ServiceState.MISSING),
        ("not-found", "inactive", ServiceState.MISSING),
    ],
)
def test_systemd(load: str, active: str, state: ServiceState) -> None:
    said = f"LoadState={load}\nActiveState={active}\n".encode()
    assert systemd.state_of(CommandStatus(0, said, b"")) == state


@pytest.mark.parametrize(
    ("code", "said", "state"),
    [
        (0, b"sshd is running.", ServiceState.ACTIVE),
        (3, b"sshd is not running ... failed!", ServiceState.INACTIVE),
        (1, b"sshd dead but pid file exists", ServiceState.INACTIVE),
        (4, b"sshd is stopped", ServiceState.INACTIVE),
        (1, b"nothing: unrecognized service", ServiceState.MISSING),
        (4, b"unknown", ServiceState.MISSING),
        (127, b"\xff", ServiceState.MISSING),
    ],
)
def test_sysvinit(code: int, said: bytes, state: ServiceState) -> None:
    assert sysvinit.state_of(CommandStatus(code, said, b"")) == state
    assert sysvinit.state_of(CommandStatus(code, b"", said)) == state


def test_providers_have_names() -> None:
    assert provider("systemd").BIN_PATH == "/usr/bin/systemctl"
    assert provider("sysvinit").BIN_PATH == "/sbin/service"
    assert provider("systemd_container").BIN_PATH == "/usr/bin/docker"
    with pytest.raises(LagoError) as caught:
        provider("sysvinitt")
    assert caught.value.hint == "did you mean sysvinit?"
