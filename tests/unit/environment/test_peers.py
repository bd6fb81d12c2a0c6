"""What deploy scripts are told of machines, and in which order they run."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from lago.environment import deploy, peers
from lago.initfile import document, parse
from lago.topology.model import Domain
from lago.topology.resolve import resolve

TEXT = """
domains:
  n1: {groups: [etcd, web-1], nics: [{net: lan, ip: 192.168.200.11}, {net: wire}]}
  n2: {groups: etcd, nics: [{net: lan, ip: 192.168.200.12}], deploy-after: [n1]}
  my_client: {groups: web.1, nics: [{net: lan}], deploy-after: n2}
  alone: {}
nets: {lan: {management: true}, wire: {type: bridge}}
"""


def domains(text: str = TEXT) -> dict[str, Domain]:
    return dict(resolve(parse.parse(document.loads(text, "F")), uuid="0" * 32, templates={}).domains)


def test_variables_name_machines_and_addresses_by_group_in_the_same_order() -> None:
    assert peers.variables("n2", domains()) == {
        "LAGO_VM_NAME": "n2",
        "LAGO_VM_IP": "192.168.200.12",
        "LAGO_VM_GROUPS": "etcd",
        "LAGO_VMS": "n1 n2 my_client alone",
        "LAGO_IPS": "192.168.200.11 192.168.200.12 192.168.200.2 -",
        "LAGO_VMS_OF_ETCD": "n1 n2",
        "LAGO_IPS_OF_ETCD": "192.168.200.11 192.168.200.12",
        # Groups that differ in such characters only have one variable; the file tells them apart.
        "LAGO_VMS_OF_WEB_1": "n1 my_client",
        "LAGO_IPS_OF_WEB_1": "192.168.200.11 192.168.200.2",
    }
    assert peers.variables("alone", domains())["LAGO_VM_IP"] == "-"


def test_the_file_has_groups_as_they_are_called_and_addresses_on_all_nets() -> None:
    told = json.loads(peers.as_json("n1", domains()))
    assert told["name"] == "n1"
    assert told["groups"] == {"etcd": ["n1", "n2"], "web-1": ["n1"], "web.1": ["my_client"]}
    assert told["machines"]["n1"]["ips"] == {"lan": ["192.168.200.11"], "wire": []}
    assert told["machines"]["my_client"]["host_name"] == "my-client"
    assert told["machines"]["alone"] == {"host_name": "alone", "ip": None, "ips": {}, "groups": []}


@pytest.mark.programs
@pytest.mark.parametrize("writable", [True, False])
def test_what_a_script_is_told_reaches_it_whatever_can_be_written(tmp_path: Path, writable: bool) -> None:
    text = TEXT.replace("etcd", '"it\'s $HOME"')
    command = peers.telling("n1", domains(text), ["bash", "-s"])
    # A place of the test's own stands for /etc; a file stands where the directory should be.
    script = command[2].replace("/etc/lago", shlex.quote(str(tmp_path / "etc" / "lago")))
    assert script != command[2]
    if not writable:
        (tmp_path / "etc").write_text("")
    env = {"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
    ask = b'echo "$LAGO_VM_GROUPS|$LAGO_VMS_OF_IT_S__HOME|$0|$#"; . "$LAGO_ENV_FILE"; echo $LAGO_ENV_FILE $LAGO_VM_NAME'
    done = subprocess.run([*command[:2], script, *command[3:]], input=ask, env=env, capture_output=True, check=True)
    place = tmp_path / ("etc/lago" if writable else "home/.lago")
    assert done.stdout.decode().splitlines() == ["it's $HOME web-1|n1 n2|bash|0", f"{place}/env n1"]
    assert done.stderr == b""
    assert json.loads((place / "machines.json").read_text())["name"] == "n1"


def test_scripts_come_after_those_that_they_wait_for_and_else_as_in_the_init_file() -> None:
    found = domains()
    assert deploy.before("my_client", found) == ["n2", "n1"]
    assert deploy.in_order(found) == ["n1", "alone", "n2", "my_client"]


def test_in_a_long_chain_each_comes_behind_the_one_before() -> None:
    chain = "\n".join(f"  n{number}: {{deploy-after: [n{number + 1}]}}" for number in range(99))
    found = domains(f"domains:\n{chain}\n  n99: {{}}\n")
    assert deploy.in_order(found) == [f"n{number}" for number in range(99, -1, -1)]
