"""The output formats, as scripts written for earlier releases read them."""

from __future__ import annotations

import io
import json
import time
from types import MappingProxyType
from typing import Any

import pytest
import yaml

from lago.cli import output
from lago.cli.result import Outcome
from lago.errors import ConfigError
from lago.plugins.output import OutFormatPlugin

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
                "NICs": {"eth0": {"ip": "192.168.201.2", "network": "n0"}, "eth1": {"ip": "N/A", "network": "br"}},
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

FLAT = [
    "Base directory: /path",
    "Networks/n0/gateway: 192.168.201.1",
    "Networks/n0/management: True",
    "UUID: fe68",
    "VMs/vm0/NICs/eth0/ip: 192.168.201.2",
    "VMs/vm0/snapshots: ",
    "VMs/vm0/status: down",
]

YAML = """\
      NICs:
        eth0:
          ip: 192.168.201.2
          network: n0
        eth1:
          ip: N/A
          network: br
      distro: cirros
      metadata: {}
      root password: '123456'
      snapshots: ''
      status: down
"""


def shown(value: Any, format_: str, stream: io.StringIO | None = None) -> str:
    stream = stream or io.StringIO()
    output.show(Outcome(value), output.formatter(format_), stream)
    return stream.getvalue()


def test_default_has_keys_in_ascii_order_and_leaves_out_what_is_empty() -> None:
    assert shown(STATUS, "default") == DEFAULT


def test_default_puts_each_element_of_a_list_on_its_own_line() -> None:
    assert shown({"a": ["x", "y"], "b": 1}, "default") == "a: \n    x\n    y\nb: 1\n"
    assert shown(["one", "two"], "default") == "one\ntwo\n"
    assert shown([{"b": 1, "a": 2}], "default") == "a: 2\nb: 1\n"


def test_flat_has_one_line_per_leaf_and_drops_the_prefix() -> None:
    lines = shown(STATUS, "flat").splitlines()
    assert set(FLAT) <= set(lines)
    assert [line for line in lines if line in FLAT] == FLAT
    assert not [line for line in lines if line.startswith("Prefix") or "metadata" in line]


def test_d46_flat_numbers_the_elements_of_lists() -> None:
    assert shown({"a": ["x", "y"], "b": ["z"]}, "flat") == "a/0: x\na/1: y\nb/0: z\n"
    assert shown({"a": [{"k": 1}, "x"]}, "flat") == "a/0/k: 1\na/1: x\n"


def test_d47_flat_shows_a_list_at_the_top() -> None:
    assert shown(["one", "two"], "flat") == "0: one\n1: two\n"


def test_json_keeps_everything_in_order_indented_by_four() -> None:
    text = shown(STATUS, "json")
    assert json.loads(text) == STATUS
    assert text == json.dumps(STATUS, sort_keys=True, indent=4) + "\n"


def test_yaml_is_in_block_style_with_strings_that_look_like_numbers_quoted() -> None:
    text = shown(STATUS, "yaml")
    assert yaml.safe_load(text) == STATUS
    assert YAML in text
    assert shown({"name": "ü"}, "yaml") == "name: ü\n"
    assert shown("word", "yaml") == "word\n"


def test_yaml_knows_no_aliases_and_any_mapping() -> None:
    same = MappingProxyType({"key": ("ä", 1)})
    assert shown({"a": same, "b": same}, "yaml") == "a:\n  key:\n  - ä\n  - 1\nb:\n  key:\n  - ä\n  - 1\n"


def test_keys_may_be_numbers_beside_text() -> None:
    assert shown({1: "x", "k": "y"}, "default") == "1: x\nk: y\n"


def test_a_format_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigError) as raised:
        output.formatter("jason")
    assert raised.value.hint == "did you mean json?"


@pytest.mark.parametrize("format_", output.FORMATS)
def test_no_data_prints_nothing(format_: str) -> None:
    assert shown(None, format_) == ""


@pytest.mark.parametrize("format_", output.FORMATS)
def test_every_format_takes_what_commands_return(format_: str) -> None:
    values: list[Any] = [[], {}, "word", 7, ["a"], [{"check": "x", "remedy": ""}], {"Prefix": {}}]
    for value in values:
        assert shown(value, format_).count("\n") >= (format_ in ("json", "yaml"))


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_default_alone_is_shown_for_a_person() -> None:
    outcome = Outcome({"a": 1}, show=lambda stream: print("a table", file=stream))
    stream = _Terminal()
    output.show(outcome, output.formatter("default"), stream)
    assert stream.getvalue() == "a table\n"
    streams: list[tuple[str, io.StringIO]] = [("json", _Terminal()), ("default", io.StringIO())]
    for format_, other in streams:
        output.show(outcome, output.formatter(format_), other)
        assert "a table" not in other.getvalue()


def test_a_format_knows_its_name_and_whether_people_read_it() -> None:
    for name, format_ in output.FORMATS.items():
        assert isinstance(format_, OutFormatPlugin)
        assert (format_.name, format_.for_people) == (name, name == "default")
        assert output.formatter(name) is format_


def test_what_is_said_meanwhile_is_lines_for_people_and_data_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    output.announce({"port": 1}, ["here:1", "there:2"], output.formatter("default"))
    assert capsys.readouterr().out == "here:1\nthere:2\n"
    output.announce({"port": 1}, ["here:1"], output.formatter("flat"))
    assert capsys.readouterr().out == "port: 1\n"


def test_instants_are_local_time_to_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XXX-2")
    time.tzset()
    try:
        assert output.when(86400.9) == "1970-01-02T02:00:00"
        assert output.when(86400.9, " ") == "1970-01-02 02:00:00"
    finally:
        monkeypatch.undo()
        time.tzset()
