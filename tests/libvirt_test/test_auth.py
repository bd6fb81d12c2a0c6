"""libvirt asks who we are; its test driver does so if its description says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from lago import config
from lago.errors import HypervisorError
from lago.virt.connection import connect


@pytest.fixture
def uri(tmp_path: Path) -> Iterator[str]:
    tmp_path.joinpath("node.xml").write_text('<node><auth><user password="secret">bob</user></auth></node>')
    yield f"test://{quote(str(tmp_path))}/node.xml"
    config.set_command_line({})


def test_d40_user_and_password_of_the_command_line_are_given_to_libvirt(uri: str) -> None:
    config.set_command_line({"libvirt_user": "bob", "libvirt_password": "secret"})
    connection = connect(uri)
    assert connection.isAlive()
    connection.close()


def test_d40_user_and_password_of_the_environment_are_given_too(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGO_LIBVIRT_USERNAME", "bob")
    monkeypatch.setenv("LAGO_LIBVIRT_PASSWORD", "secret")
    connect(uri).close()


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({}, "it asks for a user name: set --libvirt-user and --libvirt-password"),
        ({"libvirt_user": "bob"}, "it asks for a password: set --libvirt-user and --libvirt-password"),
        ({"libvirt_user": "bob", "libvirt_password": "wrong"}, "it refuses --libvirt-user and --libvirt-password"),
    ],
)
def test_what_is_missing_or_wrong_is_told(uri: str, given: dict[str, str], hint: str) -> None:
    config.set_command_line(given)
    with pytest.raises(HypervisorError) as raised:
        connect(uri)
    assert raised.value.hint == hint


def test_a_libvirt_that_asks_nothing_needs_nothing() -> None:
    connect("test:///default").close()
