"""IPv4 addresses."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from lago.topology.address import Address


def test_an_address_is_text_and_four_numbers() -> None:
    address = Address("192.168.200.7")
    assert address == "192.168.200.7"
    assert json.dumps(address) == '"192.168.200.7"'
    assert "192.168.200.7" in {address}
    assert (address.octets, address.subnet, address.last) == ((192, 168, 200, 7), "192.168.200", 7)
    assert address.with_last(9).octets == (192, 168, 200, 9)
    assert type(str(address)) is str


@pytest.mark.parametrize(
    "text", ["", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", "1.2.3.4\n", "a", "\u0661.2.3.4"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    assert Address.read(text) is None
    with pytest.raises(ValueError, match="is no IPv4 address"):
        Address(text)


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("10.255.0.1", True),
        ("172.16.0.1", True),
        ("172.31.255.1", True),
        ("192.168.0.1", True),
        ("172.15.0.1", False),
        ("172.32.0.1", False),
        ("192.169.0.1", False),
        ("11.0.0.1", False),
    ],
)
def test_private_networks_are_those_of_rfc_1918(text: str, private: bool) -> None:
    assert Address(text).private is private


def test_an_address_is_read_once() -> None:
    address = Address.of(10, 0, 0, 1)
    assert Address(address) is address


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_copy_has_the_numbers_too(copied: object) -> None:
    assert callable(copied)
    assert copied(Address("10.0.0.1")).octets == (10, 0, 0, 1)
