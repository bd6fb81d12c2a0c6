"""Links that are broken on purpose: seen from inside guests, healed, and the same after revert, fork and kill -9."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from lago.environment.faults import acts
from lago.environment.prefix import Prefix
from lago.errors import LagoError
from lago.virt import VirtEnv

from ..users import User
from .box import THREE, TWO, Box, wait_for

NETEM = not subprocess.run(
    ["unshare", "--net", "sh", "-c", "tc qdisc add dev lo root netem limit 1"], capture_output=True, check=False
).returncode


NAMED = "faults: {split: partition app / db, bad: [drop web/db --tcp 5432, drop app/db --tcp 5432]}\n"


@pytest.fixture(scope="module")
def home(module_box: Box) -> Iterator[Prefix]:
    """web on `front`, app and db on `front` and `back`, with a snapshot of before anything was broken."""
    module_box.up_warm(THREE + NAMED)
    prefix = Prefix(str(module_box.prefix))
    for vm in prefix.virt_env.get_vms():
        said(prefix.virt_env, vm, "mkdir -p /www && dd if=/dev/zero of=/www/big bs=1k count=300 2>&1")
        said(prefix.virt_env, vm, "echo fine >/www/ok; for port in 5432 5433; do httpd -p $port -h /www; done")
    prefix.create_snapshots("whole")
    yield prefix
    prefix.virt_env.close()


@pytest.fixture
def lab(home: Prefix) -> Iterator[Prefix]:
    """The same, with nothing broken at the begin and at the end."""
    yield home
    home.heal()
    assert home.faults() == []


def said(env: VirtEnv, vm: str, command: str) -> str:
    status = env.get_vm(vm).ssh(command, show_output=False)
    assert status.code == 0, (vm, command, status)
    return status.out.decode()


def address(env: VirtEnv, name: str) -> str:
    """Address of a machine, on a net if one stands behind a colon."""
    vm, _, net = name.partition(":")
    return env.get_vm(vm).ips_in_net(net or "front")[0]


def reached(prefix: Prefix, source: str, names: Iterable[str]) -> set[str]:
    """Those that answer a machine."""
    env = prefix.virt_env
    by_address = {address(env, name): name for name in names}
    one = "(ping -4 -c 2 -i 0.3 -W 1 {0} >/dev/null && echo {0}) &"
    out = said(env, source, f"{' '.join(one.format(where) for where in by_address)} wait")
    return {by_address[line] for line in out.split()}


def reaches(prefix: Prefix, source: str, yes: str = "", no: str = "") -> bool:
    """Whether a machine reaches all of some, and none of others, soon."""
    return wait_for(lambda: reached(prefix, source, f"{yes} {no}".split()) == set(yes.split()))


def fetch(prefix: Prefix, target: str, port: int, file: str) -> str:
    """A command that gets a file from a machine, within a minute."""
    return f"printf 'GET /{file} HTTP/1.0\\r\\n\\r\\n' | timeout 60 nc {address(prefix.virt_env, target)} {port}"


def fetched(prefix: Prefix, source: str, target: str, port: int) -> bool:
    """Whether a machine gets a file from another."""
    command = fetch(prefix, target, port, "ok").replace("timeout 60", "timeout 3")
    return prefix.virt_env.get_vm(source).ssh(command, show_output=False).out.endswith(b"fine\n")


def round_trip(prefix: Prefix, source: str, target: str, times: int = 6) -> float:
    """Milliseconds, on average."""
    out = said(prefix.virt_env, source, f"ping -4 -c {times} -i 0.2 -W 5 {address(prefix.virt_env, target)}")
    return float(out.rpartition("=")[2].split("/")[1])


def test_a_machine_that_is_cut_off_reaches_nobody_and_is_still_ours(lab: Prefix) -> None:
    assert reaches(lab, "app", "web db db:back")
    with lab.cut("db") as cut:
        assert [one.means for one in cut.faults] == ["nftables"]
        assert reaches(lab, "app", "web", "db db:back")
        assert reaches(lab, "db", "", "web app app:back")
        assert said(lab.virt_env, "db", "hostname") == "db\n"
        # Not over IPv6 either, nor by what all get.
        ip6 = lab.virt_env.get_vm("db").spec.nics[0].ip6
        assert lab.virt_env.get_vm("app").ssh(f"ping -6 -c 1 -W 1 {ip6}", show_output=False).code != 0
        asked = "awk '/^Icmp6InEchos/ { print $2 }' /proc/net/snmp6"
        before = said(lab.virt_env, "db", asked)
        assert lab.virt_env.get_vm("app").ssh("ping -6 -c 3 -i 0.2 -W 1 ff02::1%eth1", show_output=False).code == 0
        assert said(lab.virt_env, "db", asked) == before
    assert reaches(lab, "app", "web db db:back")


def test_a_nic_or_a_net_is_cut_alone(lab: Prefix) -> None:
    with lab.virt_env.get_vm("db").cut(net="back"):
        assert reaches(lab, "app", "web db", "db:back")
    with lab.cut("net:front"):
        assert reaches(lab, "app", "db:back", "web db")
    assert reaches(lab, "app", "web db db:back")


def test_a_nic_that_is_unplugged_has_no_link(lab: Prefix) -> None:
    carrier = "cat /sys/class/net/eth1/carrier"
    with lab.cut("db:eth1", unplug=True):
        assert wait_for(lambda: said(lab.virt_env, "db", carrier) == "0\n")
        assert reaches(lab, "app", "db", "db:back")
    assert wait_for(lambda: said(lab.virt_env, "db", carrier) == "1\n")
    assert reaches(lab, "app", "db:back")


def test_groups_reach_within_and_not_across(lab: Prefix) -> None:
    with lab.partition(["web", "app"], "db"):
        assert reaches(lab, "app", "web", "db db:back")
    with lab.partition("app", "db", net="back"):
        assert reaches(lab, "app", "web db", "db:back")
    with lab.inflict("partition web / app / db"):
        assert reaches(lab, "app", "", "web db db:back")
    assert reaches(lab, "app", "web db db:back")


@pytest.mark.slow
def test_one_way_packets_still_come_the_other_way(lab: Prefix) -> None:
    asked = "awk '/^Icmp: [0-9]/ { print $10 }' /proc/net/snmp"

    def came(source: str, target: str) -> bool:
        before = int(said(lab.virt_env, target, asked))
        assert reached(lab, source, [target]) == set()
        return int(said(lab.virt_env, target, asked)) > before

    with lab.partition("web", "db", one_way=True):
        assert not came("web", "db")
        assert came("db", "web")


def test_one_port_is_dropped_between_two_machines(lab: Prefix) -> None:
    with lab.drop(("web", "db"), tcp=5432):
        assert not fetched(lab, "web", "db", 5432)
        assert fetched(lab, "web", "db", 5433)
        assert fetched(lab, "app", "db", 5432)
    assert fetched(lab, "web", "db", 5432)


@pytest.mark.slow
def test_a_protocol_is_dropped_for_a_machine(lab: Prefix) -> None:
    with lab.drop("db", protocol="icmp"):
        assert reaches(lab, "app", "web", "db db:back")
        assert fetched(lab, "app", "db", 5432)
    assert reaches(lab, "app", "db db:back")


def test_packets_are_lost_at_random(lab: Prefix) -> None:
    with lab.slow(("app", "db"), loss=0.5):
        out = said(lab.virt_env, "app", f"ping -4 -c 60 -i 0.02 -W 1 {address(lab.virt_env, 'db')} || true")
        # One in four comes back: by chance fewer than 3 or more than 40 of 60 do less than once in a million times.
        assert 2 < int(out.partition(" packets received")[0].rpartition(" ")[2]) < 41, out
        assert reaches(lab, "web", "db")
    out = said(lab.virt_env, "app", f"ping -4 -c 20 -i 0.02 -W 5 {address(lab.virt_env, 'db')}")
    assert " 0% packet loss" in out


def test_a_round_trip_takes_longer(lab: Prefix) -> None:
    with lab.virt_env.get_vm("db").slow(delay=0.3):
        assert 200 <= round_trip(lab, "app", "db") <= 2000
        assert round_trip(lab, "app", "web") < 200
    assert wait_for(lambda: round_trip(lab, "app", "db", 2) < 200)


@pytest.mark.slow
def test_a_narrow_link_lets_so_much_pass(lab: Prefix) -> None:
    get = fetch(lab, "db", 5432, "big")

    def seconds(vm: str) -> float:
        took = f"read a b </proc/uptime; {get} | wc -c; read c d </proc/uptime; echo $a $c"
        size, began, ended = said(lab.virt_env, vm, took).split()
        assert int(size) > 300 << 10
        return float(ended) - float(began)

    with lab.slow(("app", "db"), rate="400kbit"):
        # 300 KiB at 50 kB/s are 6 s, of which the first second and 64 KiB may pass at once.
        assert seconds("app") > 3
    assert wait_for(lambda: seconds("app") < 3)


def test_names_are_not_answered_or_wrongly(lab: Prefix) -> None:
    env = lab.virt_env
    ask = "nslookup {} " + str(env.get_net("front").gw())
    with lab.dns(answer={"db": "192.168.200.99"}):
        out = said(env, "app", ask.format("db"))
        assert "192.168.200.99" in out
        assert address(env, "db") not in out
        assert address(env, "web") in said(env, "app", ask.format("web"))
    assert address(env, "db") in said(env, "app", ask.format("db"))
    with lab.dns(fail=True):
        assert env.get_vm("app").ssh(f"timeout 3 {ask.format('db')}", show_output=False).code != 0
        assert reaches(lab, "app", "db")
    assert address(env, "db") in said(env, "app", ask.format("db"))


def test_faults_of_one_link_compose_and_are_healed_alone(lab: Prefix) -> None:
    port, slow = lab.inflict("drop app/db --tcp 5432", "slow db --delay 300ms").faults
    assert round_trip(lab, "app", "db") >= 200
    assert not fetched(lab, "app", "db", 5432)
    assert [one.id for one in lab.heal(slow.id)] == [slow.id]
    assert wait_for(lambda: round_trip(lab, "app", "db", 2) < 200)
    assert not fetched(lab, "app", "db", 5432)
    assert fetched(lab, "app", "db", 5433)
    assert [one.id for one in lab.heal("app")] == [port.id]
    assert fetched(lab, "app", "db", 5432)


def test_what_lasts_is_as_it_was_at_the_instant(lab: Prefix, tmp_path: Path) -> None:
    lab.partition("app", "db")
    lab.slow("web", delay=0.15)
    lab.create_snapshots("broken", replace=True)
    lab.heal()
    lab.cut("web")
    lab.revert_snapshots("broken")
    assert [one.kind for one in lab.faults()] == ["partition", "slow"]
    assert reaches(lab, "app", "web", "db")
    assert round_trip(lab, "app", "web", 4) >= 90
    fork = lab.fork(str(tmp_path / "fork"))
    try:
        assert [one.kind for one in fork.faults()] == ["partition", "slow"]
        assert reaches(fork, "app", "web", "db")
        assert round_trip(fork, "app", "web", 4) >= 90
        fork.heal()
        assert reaches(fork, "app", "web db")
        assert reaches(lab, "app", "web", "db")
    finally:
        fork.virt_env.close()
        fork.destroy()
    lab.revert_snapshots("whole")
    assert lab.faults() == []
    assert reaches(lab, "app", "web db db:back")
    assert wait_for(lambda: round_trip(lab, "app", "web", 2) < 90)


KILLED = """
import os, signal, sys
from lago.environment.faults import acts
from lago.environment.prefix import Prefix
change = acts._change
def dies(*args):
    if sys.argv[2] == "done":
        change(*args)
    os.kill(os.getpid(), signal.SIGKILL)
acts._change = dies
prefix = Prefix(sys.argv[1])
prefix.heal() if sys.argv[3] == "heal" else prefix.cut("db")
"""
"""A program that is killed before or after it did what it has recorded."""


@pytest.mark.parametrize("when", ["before", "done"])
def test_what_was_half_done_by_a_lago_that_was_killed_is_finished_by_the_next(lab: Prefix, when: str) -> None:
    def killed(what: str) -> None:
        argv = [sys.executable, "-c", KILLED, lab.paths.prefix(), when, what]
        assert subprocess.run(argv, check=False).returncode == -signal.SIGKILL

    killed("cut")
    # Whatever comes next.
    lab.deploy()
    assert reaches(lab, "app", "web", "db")
    [cut] = lab.faults()
    killed("heal")
    assert reaches(lab, "app", *(("", "db") if when == "before" else ("db",)))
    lab.deploy()
    assert lab.faults() == []
    assert reaches(lab, "app", "db")
    assert lab.fault_timeline()[-1]["id"] == cut.id


def test_all_of_a_call_or_nothing(lab: Prefix, module_box: Box) -> None:
    for faults, what in (
        (["cut web", "cut nobody"], "there is no machine nobody"),
        (["cut web", "partition web,web / db"], "web is named twice"),
        (["cut web", "cut net:front:eth0"], "there is no net front:eth0"),
        (["cut web", "partition app / app"], "app is in two groups"),
    ):
        with pytest.raises(LagoError, match=what):
            lab.inflict(*faults)
        assert lab.faults() == []
    assert reaches(lab, "app", "web db")
    assert "did you mean web?" in module_box.lago("fault", "cut", "wbe", code=2).err
    assert "must be more than zero" in module_box.lago("fault", "slow", "web", "--rate", "0mbit", code=2).err


@pytest.mark.skipif(NETEM, reason="this kernel has netem")
def test_what_this_kernel_can_not_do_is_refused_with_what_to_load(lab: Prefix) -> None:
    for fault in ("slow db --corrupt 1%", "slow db --duplicate 1%", "slow app/db --delay 20ms"):
        with pytest.raises(LagoError, match="no netem") as raised:
            lab.inflict(fault)
        assert "modprobe sch_netem" in raised.value.hint
    assert "filter-buffer" in lab.slow("db", delay="20ms").faults[0].means


def test_the_command_line_breaks_lists_and_heals(lab: Prefix, module_box: Box) -> None:
    box = module_box
    [made] = json.loads(box.lago("-f", "json", "fault", "partition", "web,app", "/", "db").out)
    assert (made["fault"], made["means"]) == ("partition web,app / db", "nftables")
    assert "partition web,app / db" in box.lago("fault", "list").out
    assert json.loads(box.lago("-f", "json", "status").out)["Prefix"]["Faults"][made["id"]]["fault"] == made["fault"]
    assert reaches(lab, "app", "web", "db")
    assert made["id"] in box.lago("heal", made["id"]).out
    assert box.lago("fault", "list").out == ""
    assert reaches(lab, "app", "web db")
    assert "there is no fault f0" in box.lago("heal", "f0", code=2).err


def test_faults_of_the_init_file_are_inflicted_by_name(lab: Prefix, module_box: Box) -> None:
    out = json.loads(module_box.lago("-f", "json", "fault", "named", "bad").out)
    assert [one["fault"] for one in out] == ["drop web/db --tcp 5432", "drop app/db --tcp 5432"]
    assert "did you mean split?" in module_box.lago("fault", "named", "spit", code=2).err
    lab.heal()
    with lab.inflict("split"):
        assert reaches(lab, "app", "web", "db db:back")


def test_chaos_breaks_checks_and_heals(lab: Prefix, module_box: Box) -> None:
    words = ["-f", "json", "chaos", "--seed", "3", "--for", "6s", "--faults", "cut,drop", "--check"]
    done = module_box.lago(*words, 'test "$(lago -l error shell web hostname)" = web')
    said = json.loads(done.out)
    assert done.err.index("seed 3") < done.err.index("inflict")
    events = [one["event"] for one in said["timeline"]]
    assert (events[0], events[-1], said["ok"]) == ("check", "check", True)
    assert events.count("inflict") == events.count("heal") == len(said["plan"]) > 0
    assert lab.faults() == []
    failed = module_box.lago(*words, "false", code=1)
    assert [one["event"] for one in json.loads(failed.out)["timeline"]] == ["check", "check"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_chaos_that_is_ended_is_healed(lab: Prefix, module_box: Box, number: int) -> None:
    with module_box.popen("chaos", "--seed", "3", "--for", "5m", "--faults", "cut") as process:
        assert wait_for(lab.faults)
        process.send_signal(number)
        assert process.wait(60) != 0
    assert wait_for(lambda: not lab.faults())
    assert wait_for(lambda: reached(lab, "app", ["web", "db"]) == {"web", "db"})


def test_what_is_broken_ends_with_the_environment(lab: Prefix) -> None:
    lab.cut("web")
    lab.stop(["db"])
    with pytest.raises(LagoError, match="db is down"):
        lab.inflict("cut app", "cut db")
    assert [one.targets for one in lab.faults()] == [("web",)]
    lab.stop()
    assert lab.faults() == []
    assert acts.current(lab.paths) == []
    lab.revert_snapshots("whole")
    assert reaches(lab, "app", "web db")


@pytest.mark.slow
def test_a_machine_that_has_power_again_is_broken_as_before(lab: Prefix) -> None:
    lab.inflict("partition app / db", "power-cut db")
    lab.heal("power-cut")
    assert reaches(lab, "web", "app db")
    assert reaches(lab, "app", "web", "db")
    lab.heal()
    lab.revert_snapshots("whole")


@pytest.mark.slow
def test_a_machine_that_is_started_again_is_broken_as_before(lab: Prefix) -> None:
    lab.inflict("partition app / db", "slow db --delay 150ms")
    lab.stop(["db"])
    lab.start(["db"])
    assert reaches(lab, "web", "app db")
    assert reaches(lab, "app", "web", "db")
    assert round_trip(lab, "web", "db", 4) >= 90
    lab.revert_snapshots("whole")


@pytest.mark.slow
def test_an_ordinary_user_breaks_links_too(mini: Path, throwaway_user: User) -> None:
    box = Box.of_user(throwaway_user, mini, "faults")
    try:
        box.up_warm(TWO)
        ping = "ping -4 -c 1 -W {} vm1 >/dev/null && echo yes || echo no"
        box.lago("fault", "slow", "vm1", "--delay", "300ms")
        assert box.shell("vm0", ping.format(5)) == "yes\n"
        box.lago("fault", "drop", "vm1", "--protocol", "icmp")
        assert box.shell("vm0", ping.format(1)) == "no\n"
        box.lago("heal")
        assert box.shell("vm0", ping.format(5)) == "yes\n"
    finally:
        box.close()
