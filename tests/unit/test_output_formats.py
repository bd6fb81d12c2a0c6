"""The output formats, as earlier releases shaped them."""

from __future__ import annotations

import io
import json
from types import MappingProxyType
from typing import Any, TextIO

import pytest
import yaml

from lago.cli import output
from lago.cli.outcome import Outcome
from lago.errors import ConfigError

STATUS: dict[str, Any] = {
    "Prefix": {
        "Base directory": "/path",
        "UUID": "fe68",
        "Networks": {
            "n0": {"gateway": "192.168.201.1", "management": True, "status": "down"},
            "br": {"gateway": None, "management": False, "status": "up"},
        },
        "VMs": {
            "vm0": {
                "NICs": {
                    "eth0": {"ip": "192.168.201.2", "network": "n0"},
                    "eth1": {"ip": "N/A", "network": "br"},
                },
                "distro": "cirros",
                "metadata": {},
                "root password": "123456",
                "snapshots": "",
                "status": "down",
            }
        },
    }
}

DEFAULT = """\
[Prefix]:
    Base directory: /path
    [Networks]:
        [br]:
            management: False
            status: up
        [n0]:
            gateway: 192.168.201.1
            management: True
            status: down
    UUID: fe68
    [VMs]:
        [vm0]:
            [NICs]:
                [eth0]:
                    ip: 192.168.201.2
                    network: n0
                [eth1]:
                    ip: N/A
                    network: br
            distro: cirros
            root password: 123456
            status: down
"""

FLAT = """\
Base directory: /path
Networks/br/gateway: None
Networks/br/management: False
Networks/br/status: up
Networks/n0/gateway: 192.168.201.1
Networks/n0/management: True
Networks/n0/status: down
UUID: fe68
VMs/vm0/NICs/eth0/ip: 192.168.201.2
VMs/vm0/NICs/eth0/network: n0
VMs/vm0/NICs/eth1/ip: N/A
VMs/vm0/NICs/eth1/network: br
VMs/vm0/distro: cirros
VMs/vm0/root password: 123456
VMs/vm0/snapshots: 
VMs/vm0/status: down
"""  # noqa: W291 - nothing follows the colon of what is empty


def _shown(data: Any, format_: str) -> str:
    stream = io.StringIO()
    output.show(Outcome(data), format_, stream)
    return stream.getvalue()


def test_default_leaves_out_what_is_empty() -> None:
    assert _shown(STATUS, "default") == DEFAULT


def test_flat_has_one_line_for_each_leaf() -> None:
    assert _shown(STATUS, "flat") == FLAT


def test_json_is_indented_and_keeps_everything() -> None:
    text = _shown(STATUS, "json")
    assert json.loads(text) == STATUS
    assert text.startswith('{\n    "Prefix": {\n        "Base directory": "/path",\n')
    assert '"metadata": {},' in text


def test_yaml_is_in_block_style_and_quotes_what_looks_like_a_number() -> None:
    text = _shown(STATUS, "yaml")
    assert yaml.safe_load(text) == STATUS
    for line in ("root password: '123456'", "metadata: {}", "snapshots: ''", "gateway: null"):
        assert f" {line}\n" in text


def test_yaml_knows_no_aliases_and_any_mapping() -> None:
    shared = MappingProxyType({"key": ("ä", 1)})
    assert _shown({"a": shared, "b": shared}, "yaml") == "a:\n  key:\n  - ä\n  - 1\nb:\n  key:\n  - ä\n  - 1\n"


@pytest.mark.parametrize(
    ("data", "format_", "text"),
    [
        ({"k": ["a", "b"]}, "default", "k: \n    a\n    b\n"),
        ({"k": [{"n": 1}, {"n": 2}]}, "default", "k: \n    n: 1\n    n: 2\n"),
        (["a", "b"], "default", "a\nb\n"),
        (["a", "b"], "json", '[\n    "a",\n    "b"\n]\n'),
        (["a", "b"], "yaml", "- a\n- b\n"),
        ([], "default", ""),
        (None, "json", ""),
        ({1: "x", "k": "y"}, "default", "1: x\nk: y\n"),
    ],
)
def test_lists_and_odd_values_have_a_form(data: Any, format_: str, text: str) -> None:
    assert _shown(data, format_) == text


def test_d46_elements_of_a_list_have_paths_of_their_own() -> None:
    assert _shown({"k": ["a", {"n": "b"}], "z": "c"}, "flat") == "k/0: a\nk/1/n: b\nz: c\n"


def test_d47_a_list_on_top_is_shown() -> None:
    assert _shown(["a", "b"], "flat") == "0: a\n1: b\n"


def _table(stream: TextIO) -> None:
    stream.write("table")


def test_a_terminal_gets_what_people_like_to_read_only_in_the_default_format() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for format_, text in (("default", "table"), ("flat", "k: v\n")):
        stream = Terminal()
        output.show(Outcome({"k": "v"}, show=_table), format_, stream)
        assert stream.getvalue() == text


def test_a_format_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigError) as raised:
        output.formatter("jason")
    assert raised.value.hint == "did you mean json?"
