"""What tests of several machines need: an order of deploy scripts, all machines at once, who reaches whom."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import lago
from lago import sdk
from lago.errors import Errors, LagoError, VMError, VMNotFound

from .box import Box

INIT_FILE = """
x-node: &node {memory: 128, vcpu: 1, disks: [{template_name: mini}]}
domains:
  n1: {<<: *node, nics: [{net: lan}, {net: back}], groups: [db, all-of-us], metadata: {deploy-scripts: [n1.sh]}}
  n2:
    <<: *node
    nics: [{net: lan}, {net: back}]
    groups: [db]
    deploy-after: [n1]
    metadata: {deploy-scripts: [n2.sh]}
    artifacts: [/etc/hostname]
    artifact-commands:
      told: cat /etc/lago/env; echo to stderr >&2
      fails: echo it fails; exit 3
  n3: {<<: *node, nics: [{net: lan}], deploy-after: n2, metadata: {deploy-scripts: [n3.sh]}}
nets: {lan: {management: true}, back: {}}
"""
TOLD = "set -e; mkdir -p /srv; env | grep LAGO_ >/srv/told"
SERVE = "pidof httpd >/dev/null || httpd -p 8080 -h /srv"
FETCH = "wget -O /srv/token http://{}:8080/token"
SCRIPTS = {
    # What n1 does takes a while; n2 needs it, and n3 what n2 does.
    "n1.sh": f"{TOLD}; sleep 2; cat /proc/sys/kernel/random/uuid >/srv/token; {SERVE}",
    "n2.sh": f"{TOLD}; [ ! -e /srv/broken ]; {FETCH.format('n1')}; {SERVE}",
    "n3.sh": f"{TOLD}; {FETCH.format('n2')}",
}
TABLE = [
    "from \\ to  n1   n2   n3",
    "n1         -    yes  yes",
    "n2         yes  -    yes",
    "n3         yes  yes  -",
]


@pytest.fixture(scope="module")
def box(module_box: Box) -> Box:
    """Three machines, whose scripts wait for each other."""
    for name, text in SCRIPTS.items():
        module_box.write(text.replace("; ", "\n") + "\n", name)
    module_box.up_warm(INIT_FILE)
    return module_box


@pytest.fixture
def env(box: Box) -> Iterator[sdk.Env]:
    """The environment for programs, all of it running."""
    box.up_warm(INIT_FILE)
    with sdk.load_env(box.place / ".lago") as loaded:
        yield loaded


def test_scripts_have_waited_for_those_of_other_machines(env: sdk.Env) -> None:
    tokens = env.run_on_all("cat /srv/token")
    assert len(set(tokens.values())) == 1, tokens


def test_scripts_are_told_who_they_are_and_who_else_there_is(env: sdk.Env) -> None:
    told = env.get_vms()["n2"].succeed("cat /srv/told").splitlines()
    ips = {name: vm.ip() for name, vm in env.get_vms().items()}
    assert {line for line in told if "FILE" not in line} == {
        "LAGO_VM_NAME=n2",
        f"LAGO_VM_IP={ips['n2']}",
        "LAGO_VM_GROUPS=db",
        "LAGO_VMS=n1 n2 n3",
        f"LAGO_IPS={' '.join(ips.values())}",
        "LAGO_VMS_OF_DB=n1 n2",
        f"LAGO_IPS_OF_DB={ips['n1']} {ips['n2']}",
        "LAGO_VMS_OF_ALL_OF_US=n1",
        f"LAGO_IPS_OF_ALL_OF_US={ips['n1']}",
    }
    assert {"LAGO_ENV_FILE=/etc/lago/env", "LAGO_MACHINES_FILE=/etc/lago/machines.json"} <= set(told)


def test_what_scripts_were_told_is_there_later_too(env: sdk.Env) -> None:
    vm = env.get_vms()["n3"]
    assert vm.succeed(". /etc/lago/env; echo $LAGO_VMS_OF_DB") == "n1 n2\n"
    machines = vm.succeed("cat /etc/lago/machines.json", json=True)
    assert (machines["name"], machines["groups"]) == ("n3", {"db": ["n1", "n2"], "all-of-us": ["n1"]})
    assert machines["machines"]["n1"]["ips"]["back"] == env.get_vms()["n1"].ips_in_net("back")


@pytest.mark.slow
def test_scripts_that_wait_are_not_run_when_those_before_them_fail(box: Box, env: sdk.Env) -> None:
    env.run_on_all("rm /srv/told")
    env.get_vms()["n2"].succeed("touch /srv/broken")
    said = box.lago("deploy", code=2).err
    env.get_vms()["n2"].succeed("rm /srv/broken")
    assert "n3: its deploy scripts are not run, as those of n2 failed" in said
    assert "n1: up" in said
    assert "n2.sh ended with status 1" in said
    assert "of 3 failed" not in said
    assert {name: bool(vm.ssh("test -e /srv/told")) for name, vm in env.get_vms().items()} == {
        "n1": False,
        "n2": False,
        "n3": True,
    }
    said = box.lago("deploy").err
    assert said.index("n3: waiting for n2, n1") < said.index("n1: up") < said.index("n2: n2.sh")
    assert said.index("n2: up") < said.index("n3: n3.sh")


def test_output_that_is_json_is_a_value_and_else_an_error(env: sdk.Env) -> None:
    vm = env.get_vms()["n1"]
    assert vm.succeed("echo '{\"members\":'", "echo '[1, 2]}'", json=True) == {"members": [1, 2]}
    with pytest.raises(VMError, match=r"^n1: the output is no JSON, Expecting value.*: echo of; echo text$") as caught:
        vm.succeed("echo of", "echo text", json=True)
    assert caught.value.details == "of\ntext"
    with pytest.raises(VMError, match="failed with status 1: false"):
        vm.succeed("false", json=True)


def test_a_command_is_run_on_all_side_by_side_and_must_succeed_on_each(env: sdk.Env) -> None:
    assert env.run_on_all(["hostname"]) == {name: f"{name}\n" for name in ("n1", "n2", "n3")}
    assert env.run_on_all("echo 1", ["n3"], json=True) == {"n3": 1}
    # Each waits for what the other one does: one after the other would never end.
    meet = "for n in n1 n2; do until wget -q -O /dev/null http://$n:8080/here; do sleep 0.2; done; done"
    env.run_on_all(f"touch /srv/here; {meet}", ["n1", "n2"], timeout=60)
    with pytest.raises(Errors) as caught:
        env.run_on_all("echo no; [ $(hostname) = n2 ]")
    assert [str(error).partition(":")[0] for error in caught.value.errors] == ["n1", "n3"]
    with pytest.raises(VMNotFound, match="there is no machine n4"):
        env.run_on_all("true", ["n4"])


def test_all_are_waited_for_and_who_is_not_so_is_told(env: sdk.Env) -> None:
    vms = env.get_vms()
    env.run_on_all("(sleep 1; touch /tmp/ready) >/dev/null 2>&1 &")
    assert lago.wait_all(vms, "ls /tmp/ready", timeout=60) == dict.fromkeys(vms, "/tmp/ready\n")
    vms["n2"].succeed("rm /tmp/ready")
    with pytest.raises(VMError, match=r"^n2: the command did not succeed: test -e /tmp/ready within 1 s"):
        lago.wait_all([vms["n1"], vms["n2"]], "test -e /tmp/ready", timeout=1)


def test_what_is_waited_for_may_be_anything_of_several_machines(env: sdk.Env) -> None:
    vms = env.get_vms()
    vms["n3"].succeed("(sleep 1; echo n1 >/tmp/leader) >/dev/null 2>&1 &")
    assert env.wait_until(lambda: vms["n3"].succeed("cat /tmp/leader").strip(), 60) == "n1"

    def all_follow() -> bool:
        missing = [name for name, vm in vms.items() if vm.ssh("test -e /tmp/leader")]
        assert not missing, f"{missing} follow nobody"
        return True

    with pytest.raises(LagoError) as caught:
        env.wait_until(all_follow, 0.5, why="a leader of all")
    assert caught.value.what == "waited 0.5 s in vain for a leader of all"
    assert "['n1', 'n2'] follow nobody" in caught.value.details


def test_a_machine_reaches_those_on_its_nets_and_ports_that_are_open(env: sdk.Env) -> None:
    one, two, three = env.get_vms().values()
    reach = one.reaches("n2")
    assert (bool(reach), reach.nets, reach.by) == (True, {"lan": True, "back": True}, "ping")
    assert one.reaches(two, port=8080).by in ("nc", "bash", "python3")
    assert one.reaches(two, port=8080)
    assert not one.reaches(two, port=8081, timeout=1)
    assert one.reaches(three).nets == {"lan": True}
    apart = one.reaches(three, net="back")
    assert (apart.reached, apart.why) == (None, "it is not on the net back together with n3")
    assert not apart
    two.succeed("ip link set eth1 down")
    try:
        reach = one.reaches(two, timeout=1)
        assert (bool(reach), reach.nets, str(reach)) == (False, {"lan": True, "back": False}, "lan only")
        assert one.reaches(two, net="lan")
    finally:
        two.succeed("ip link set eth1 up")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"other": "n22"}, "there is no machine n22"),
        ({"other": "n2", "net": "bak"}, "there is no net bak"),
        ({"other": "n2", "port": 0}, "0 is no TCP port"),
        ({"other": "n2", "port": 65536}, "65536 is no TCP port"),
        ({"other": "n2", "timeout": 0}, "0 is no time to wait for an answer"),
    ],
)
def test_what_can_not_be_asked_is_said(env: sdk.Env, given: dict[str, object], said: str) -> None:
    with pytest.raises(LagoError, match=said):
        env.get_vms()["n1"].reaches(**given)  # type: ignore[arg-type]


def test_who_reaches_whom_is_a_table_and_data(box: Box, env: sdk.Env, capsys: pytest.CaptureFixture[str]) -> None:
    found = env.reachability()
    assert capsys.readouterr().out.splitlines() == [*TABLE, "by ping"]
    assert found.whole
    assert box.lago("reachability").out.splitlines() == [*TABLE, "by ping"]
    env.stop(["n3"])
    ports = json.loads(box.lago("-f", "json", "reachability", "--port", "8080", "--timeout", "1").out)
    assert {name: {other: reach["reached"] for other, reach in row.items()} for name, row in ports.items()} == {
        "n1": {"n2": True, "n3": False},
        "n2": {"n1": True, "n3": False},
        "n3": {"n1": None, "n2": None},
    }
    assert ports["n3"]["n1"]["why"] == "n3 is not running, it is down"
    said = box.lago("reachability", "n1", "n3", "--net", "lan", "--timeout", "1").out.splitlines()
    assert said[1:4] == ["n1         -   no", "n3         ?   -", "n3: n3 is not running, it is down"]
    assert "did you mean back?" in box.lago("reachability", "--net", "bak", code=2).err
    assert "did you mean" in box.lago("reachability", "n11", code=2).err


def test_what_commands_say_is_collected_and_which_failed_is_told(box: Box, env: sdk.Env, tmp_path: Path) -> None:
    del env
    done = json.loads(box.lago("-f", "json", "collect", "--output", str(tmp_path / "out")).out)
    place = tmp_path / "out" / "n2"
    told = (place / "told").read_text()
    assert "LAGO_VM_NAME=n2\n" in told
    assert "to stderr\n" in told
    assert (place / "fails").read_text() == "it fails\n"
    assert (place / "_etc_hostname").read_text() == "n2\n"
    assert done["n2"]["failed"] == {"fails": "it ended with status 3"}
    assert done["n1"]["failed"] == {}
    assert str(place / "told") in done["n2"]["files"]
    said = box.lago("collect", "--output", str(tmp_path / "out"), "--no-skip", code=2).err
    assert "some artifact-commands failed\n    n2: fails: it ended with status 3" in said


def test_commands_of_a_machine_that_is_down_are_told_as_not_run(box: Box, env: sdk.Env, tmp_path: Path) -> None:
    env.stop(["n2"])
    vm = env.get_vms()["n2"]
    assert vm.save_outputs({"fails": str(tmp_path / "fails")}) == {"fails": "it is down"}
    assert not (tmp_path / "fails").exists()
    del box
