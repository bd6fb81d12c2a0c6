"""Groups and variables of the inventory for Ansible."""

from __future__ import annotations

import configparser
import shlex
from pathlib import Path
from typing import Any

import pytest

from lago.errors import LagoError
from lago.guest import ansible
from lago.guest.ssh import Guest
from lago.hypervisor import Hypervisor, open_hypervisor
from lago.initfile import document, parse
from lago.paths import Paths
from lago.topology import model, resolve
from lago.topology.address import Address

PREFIX = "/nonexistent/50% off"
ENVIRONMENT = """
domains:
  b: {nics: [{net: lan}], groups: web, metadata: {roles: [x, "y: z"], nothing: null}, vm-type: default}
  a: {nics: [{net: lan}], groups: [web, db], vm-type: default}
  alone: {}
nets: {lan: {}}
"""


def made(*keys: str, url: str = "private") -> ansible.Inventory:
    domains = resolve.resolve(parse.parse(document.loads(ENVIRONMENT, "f")), uuid="0" * 32, templates={}).domains
    hypervisor: Hypervisor = open_hypervisor(url, "0" * 32, Paths(PREFIX))

    def guest(name: str) -> Guest:
        key = Paths(PREFIX).ssh_id_rsa()
        return Guest(name, "admin", domains[name].ip or "", key, "/c", list)

    return ansible.inventory(domains, guest, Paths(PREFIX), hypervisor, keys or ansible.KEYS)


def test_ansible_shares_no_connection_where_it_can_only_misspell_its_path() -> None:
    # The directory of the session has a quote and a percent sign in its name.
    variables = made().hosts["a"]
    assert "ansible_control_path_dir" not in variables
    assert "-oControlPath=none" in shlex.split(variables["ansible_ssh_common_args"])


def test_groups_are_those_of_the_init_file_and_of_the_keys() -> None:
    assert made().groups == {
        "db": ["a"],
        "groups=db": ["a"],
        "groups=web": ["a", "b"],
        "vm-type=default": ["a", "b"],
        "web": ["a", "b"],
    }


@pytest.mark.parametrize(
    ("key", "groups"),
    [
        ("metadata/roles", {"metadata/roles=x": ["b"], "metadata/roles=y__z": ["b"]}),
        ("/metadata/roles/-2", {"/metadata/roles/-2=x": ["b"]}),
        ("metadata/roles/7", {}),
        ("metadata/nothing/more", {}),
        ("nics/first", {}),
    ],
)
def test_a_key_is_a_path_and_what_is_not_there_makes_no_group(key: str, groups: dict[str, Any]) -> None:
    assert made(key).groups == {"db": ["a"], "web": ["a", "b"], **groups}


@pytest.mark.parametrize("key", ["/", "", "nics", "metadata"])
def test_a_key_that_leads_to_more_than_a_value_is_refused(key: str) -> None:
    with pytest.raises(LagoError, match="can't be the name of a group"):
        made(key)


def test_a_line_has_the_documented_beginning_and_survives_the_words_of_a_shell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent")
    parser = configparser.ConfigParser(allow_no_value=True, delimiters=("\0",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(made().ini())
    [line] = parser["db"]
    name, address, key, *more = shlex.split(line)
    assert [name, address, key] == [
        "a",
        "ansible_host=192.168.200.3",
        # Ansible puts it into quotes, and ssh reads it.
        f"ansible_ssh_private_key_file={PREFIX.replace('%', '%%')}/id_rsa",
    ]
    assert dict(word.split("=", 1) for word in more).keys() == {
        "ansible_user",
        "ansible_ssh_common_args",
        "ansible_control_path_dir",
    }


def test_only_a_private_hypervisor_needs_a_proxy(runtime_dir: Path) -> None:
    words = shlex.split(made().hosts["a"]["ansible_ssh_common_args"])
    [proxy] = [word for word in words if word.startswith("-oProxyCommand=")]
    assert "50%% off" in proxy
    assert proxy.endswith(" %h %p")
    assert "ProxyCommand" not in made(url="qemu:///system").hosts["a"]["ansible_ssh_common_args"]


def test_who_is_in_no_group_is_still_there(runtime_dir: Path) -> None:
    domains = {"c": model.Domain(name="c", memory=1, vcpu=1, nics=(_NIC,), disks=(), mgmt_net="lan")}
    hypervisor = open_hypervisor("qemu:///system", "0" * 32, Paths(PREFIX))
    one = Guest("c", "root", "192.168.200.9", "k", "/c", list)
    assert ansible.inventory(domains, lambda _: one, Paths(PREFIX), hypervisor).groups == {"ungrouped": ["c"]}


_NIC = model.Nic(index=0, net="lan", mac="", ip=Address("192.168.200.9"))
