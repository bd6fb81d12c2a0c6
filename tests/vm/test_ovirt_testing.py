"""`lago ovirt` deploys to, tests and collects from a guest."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from .box import Box

INIT_FILE = """
domains:
  host0:
    vm-type: ovirt-host
    memory: 128
    vcpu: 1
    disks: [{template_name: mini}]
    nics: [{net: lan}]
    metadata: {ovirt-scripts: [two.sh, three.sh], deploy-scripts: [one.sh]}
    artifacts: [/root/log]
nets: {lan: {}}
"""

FETCH = "wget -qO- http://$(ip route | awk '/default/ {print $3}'):8585/el9/hello"

TESTS = f"""
import pytest
from ovirtlago import testlib

pytestmark = pytest.mark.ovirt_sequence
FETCH = {FETCH!r}

def test_it_is_there(ovirt_prefix):
    [host] = ovirt_prefix.virt_env.host_vms()
    assert host.ssh(["cat", "/root/log"]).out.split() == [b"one", b"two"]
    host.ssh("(sleep 1; echo up >/root/state) </dev/null >/dev/null 2>&1 &")

def test_packages_are_served_and_to_be_deployed(ovirt_prefix):
    [host] = ovirt_prefix.virt_env.host_vms()
    assert host.ssh(["sh", "-c", FETCH]).out == b"packages"
    host.ssh("rm /root/served")
    ovirt_prefix.deploy()
    assert host.ssh(["cat", "/root/served"]).out == b"packages"

@testlib.with_ovirt_prefix
def test_it_becomes_up(prefix):
    [host] = prefix.virt_env.host_vms()
    testlib.assert_equals_within_short(lambda: host.ssh(["cat", "/root/state"]).out, b"up\\n")
"""

FAILS = """
def test_that_fails(ovirt_prefix):
    [host] = ovirt_prefix.virt_env.host_vms()
    host.ssh("echo last words >/dev/console")
    assert False
"""


@pytest.fixture(scope="module")
def box(module_box: Box) -> Box:
    """A running environment with a host, and scripts for it."""
    module_box.write("echo one >>/root/log\n", "one.sh")
    two = f"mkdir -p /var/log/vdsm; echo said >/var/log/vdsm/vdsm.log; {FETCH} >/root/served; echo two >>/root/log\n"
    module_box.write(two, "two.sh")
    module_box.write("[[ ! -e /root/broken ]] || { echo it is broken >&2; exit 3; }\n", "three.sh")
    module_box.write(INIT_FILE)
    module_box.lago("init")
    repository = module_box.prefix / "internal_repo" / "el9"
    repository.mkdir(parents=True)
    repository.joinpath("hello").write_text("packages")
    module_box.lago("start")
    return module_box


def test_scripts_for_lago_run_before_those_for_ovirt_and_those_fail_with_their_words(box: Box) -> None:
    box.lago("ovirt", "deploy")
    assert box.shell("host0", "cat /root/log /root/served") == "one\ntwo\npackages"
    box.shell("host0", "touch /root/broken; rm /root/log")
    done = box.lago("ovirt", "deploy", code=2)
    assert "lago: host0: the deploy script " in done.err
    assert "three.sh ended with status 3\n    it is broken\n" in done.err
    box.lago("deploy")
    assert box.shell("host0", "cat /root/log") == "one\ntwo\none\n"
    box.shell("host0", "rm /root/broken; printf 'one\\ntwo\\n' >/root/log")


def test_tests_reach_the_environment(box: Box) -> None:
    box.write(TESTS, "good.py")
    found = json.loads(box.lago("-f", "json", "ovirt", "runtest", "good.py", "--junitxml-file", "good.xml").out)
    assert (found["tests"], found["failures"], found["errors"], found["skipped"]) == (3, 0, 0, 0)
    suite = ElementTree.parse(box.prefix / "good.xml").getroot()
    assert [case.get("name") for case in suite.iter("testcase")] == [
        "test_it_is_there",
        "test_packages_are_served_and_to_be_deployed",
        "test_it_becomes_up",
    ]
    # Nobody serves them any more.
    assert box.shell("host0", f"{FETCH} || echo refused").strip() == "refused"
    box.shell("host0", "printf 'one\\ntwo\\n' >/root/log")


def test_what_machines_tell_about_a_failed_test_is_in_the_prefix(box: Box) -> None:
    box.write(FAILS, "bad.py")
    done = box.lago("ovirt", "runtest", "bad.py", code=2)
    assert "lago: 1 of 1 tests of bad.py failed" in done.err
    assert "lago console of host0" in done.err
    [collected] = (box.prefix / "test_logs").iterdir()
    assert collected.name.startswith("bad.py-test_that_fails-20")
    assert (collected / "host0" / "_var_log_vdsm" / "vdsm.log").read_text() == "said\n"
    assert (collected / "host0" / "_root_log").read_text() == "one\ntwo\n"
    assert "last words" in (collected / "host0" / "console.log").read_text()


def test_collect_takes_what_a_host_has_by_its_kind(box: Box) -> None:
    found = json.loads(box.lago("-f", "json", "ovirt", "collect", "--output", "out").out)
    assert found["host0"]["missing"] == []
    assert (box.place / "out" / "host0" / "_var_log" / "vdsm" / "vdsm.log").read_text() == "said\n"
    assert (box.place / "out" / "host0" / "_root_log").read_text() == "one\ntwo\n"
    box.shell("host0", "rm -r /var/log/vdsm")
    done = box.lago("ovirt", "collect", "--output", "out", "--no-skip", code=2)
    assert "host0: /var/log/vdsm" in done.err
