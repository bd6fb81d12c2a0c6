"""What becomes of an etcd cluster when something breaks. Each test begins with a cluster in which nothing has.

Where Lago and pytest are installed, and the template is there (see LagoInitFile): pytest
"""

import pytest


def put(vm, key, value):
    """Write to the cluster at one of its nodes."""
    vm.succeed(["etcdctl", "--command-timeout=60s", "put", key, value])


def get(vm, key):
    """What the cluster agrees on, asked at one of its nodes."""
    return vm.succeed(["etcdctl", "--command-timeout=60s", "get", "--print-value-only", key]).strip()


def refuses(vm):
    """See that a node takes nothing, and does not know what the cluster agrees on."""
    vm.fail("etcdctl --command-timeout=10s put lost 1")
    vm.fail("etcdctl --command-timeout=10s get colour")


def leader(vms):
    """Name of the node that all of some follow."""
    told = {name: vm.succeed("etcdctl endpoint status -w json", json=True)[0]["Status"] for name, vm in vms.items()}
    names = {status["header"]["member_id"]: name for name, status in told.items()}
    followed = {names.get(status.get("leader")) for status in told.values()}
    assert len(followed) == 1, f"they follow {followed}"
    assert None not in followed, "they follow nobody of them"
    return followed.pop()


@pytest.fixture
def vms(lago_pristine):
    """The nodes."""
    return lago_pristine.get_vms()


@pytest.fixture
def first(lago_pristine, vms):
    """Name of the node that leads at first."""
    return lago_pristine.wait_until(lambda: leader(vms), why="one leader of all")


def others(vms, name):
    """All nodes but one."""
    return {other: vm for other, vm in vms.items() if other != name}


def test_the_cluster_forms(lago_env):
    vms = lago_env.get_vms()
    assert lago_env.reachability(port=2380).whole
    assert lago_env.wait_until(lambda: leader(vms), why="one leader of all") in vms
    put(vms["n2"], "shape", "round")
    assert [get(vm, "shape") for vm in vms.values()] == ["round"] * 3


def test_others_lead_when_the_leader_dies(lago_pristine, vms, first):
    rest = others(vms, first)
    with vms[first].power_cut():
        second = lago_pristine.wait_until(lambda: leader(rest), why="another leader")
        put(rest[second], "colour", "blue")
    # It has power again, and booted.
    lago_pristine.wait_until(lambda: get(vms[first], "colour") == "blue", why="what was written meanwhile")
    lago_pristine.wait_until(lambda: leader(vms), why="one leader of all")


def test_a_minority_takes_nothing_and_catches_up(lago_pristine, vms, first):
    alone = next(iter(others(vms, first)))
    with lago_pristine.partition([alone], list(others(vms, alone))):
        put(vms[first], "colour", "blue")
        refuses(vms[alone])
        # What it knows for itself is what was there before.
        assert vms[alone].succeed("etcdctl get --consistency=s --print-value-only colour") == "green\n"
    lago_pristine.wait_until(lambda: get(vms[alone], "colour") == "blue", why="what was written meanwhile")
    lago_pristine.wait_until(lambda: leader(vms), why="one leader of all")


def test_a_leader_that_is_cut_off_leads_nobody(lago_pristine, vms, first):
    rest = others(vms, first)
    with lago_pristine.partition([first], list(rest)):
        second = lago_pristine.wait_until(lambda: leader(rest), why="another leader")
        put(rest[second], "colour", "blue")
        refuses(vms[first])
    lago_pristine.wait_until(lambda: get(vms[first], "colour") == "blue", why="what was written meanwhile")
    lago_pristine.wait_until(lambda: leader(vms), why="one leader of all")


def test_a_slow_disk_of_the_leader_delays_and_loses_nothing(lago_pristine, vms, first):
    other = next(iter(others(vms, first).values()))
    with vms[first].disk("data").slow(iops=1):
        for number in range(5):
            put(other, f"number{number}", "one of several, as each waits for the disk")
        lago_pristine.wait_until(lambda: put(other, "colour", "blue") or True, why="a write in spite of it")
        vms[first].wait_until_succeeds("journalctl -u etcd | grep -e 'slow fdatasync' -e 'took too long'")
    lago_pristine.wait_until(lambda: leader(vms), why="one leader of all")
    assert [get(vm, "colour") for vm in vms.values()] == ["blue"] * 3


def test_a_wrong_clock_of_the_leader_makes_no_difference(vms, first):
    lease = vms[first].succeed("etcdctl lease grant 1800").split()[1]
    vms[first].succeed(["etcdctl", "put", "--lease", lease, "lives", "yes"])
    with vms[first].skew(3600):
        now = {name: int(vm.succeed("date +%s")) for name, vm in vms.items()}
        assert all(now[first] - now[other] > 3000 for other in others(vms, first))
        put(vms[first], "colour", "blue")
        # By its clock this lease is long over.
        assert [get(vm, "lives") for vm in vms.values()] == ["yes"] * 3
        assert leader(vms) == first
