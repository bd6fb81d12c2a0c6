"""Faults as people write them, as nftables and netem are told them, and in plans; without machines."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from lago.environment.faults import acts, plans, rules, shaping, words
from lago.environment.faults.model import Fault
from lago.environment.faults.names import wrong
from lago.environment.faults.record import Record
from lago.environment.faults.registry import KINDS
from lago.environment.prefix import Prefix
from lago.errors import LagoError, PrefixError
from lago.paths import Paths

from ..conftest import Lago, make_prefix

THREE = """\
domains:
  web: {disks: [{type: empty, size: 1G, format: qcow2}], nics: [{net: front}]}
  app: {disks: [{type: empty, size: 1G, format: qcow2}], nics: [{net: front}, {net: back}]}
  db: {disks: [{type: empty, size: 1G, format: qcow2}], nics: [{net: front}, {net: back}]}
nets: {front: {management: true}, back: {}}
"""

SPELLED = [
    "cut web",
    "cut web:eth1 net:back",
    "cut web --unplug",
    "partition web,app / db",
    "partition web / app / db --net back",
    "partition web / db --one-way",
    "slow db --delay 200ms --jitter 50ms --loss 10%",
    "slow web/db --rate 1mbit",
    "slow web,app/db --duplicate 0.5% --reorder 25% --corrupt 1%",
    "drop web/db --tcp 5432,8000-8100 --one-way",
    "drop db --udp 53 --protocol icmp --protocol 112",
    "dns --fail",
    "dns --answer db=192.168.200.99 --answer web=10.0.0.1",
]


@pytest.mark.parametrize("text", SPELLED)
def test_a_fault_is_spelled_as_it_is_read(text: str) -> None:
    fault = words.parse(text)
    assert words.spell(fault) == text
    assert Fault.of_plain(fault.plain()) == fault


def test_values_of_programs_are_those_of_people() -> None:
    made = words.make("slow", ["db"], {"delay": 0.2, "jitter": 0.05, "loss": 0.1, "rate": 1_000_000})
    assert made == words.parse("slow db --delay 200ms --jitter 50ms --loss 10% --rate 1mbit")
    assert words.parse("partition web,app/db") == words.make("partition", ["web,app", "db"])
    assert words.make("drop", ["a/b"], {"tcp": [80, 443], "protocol": []}).settings == {"tcp": "80,443"}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "a fault is named by a word"),
        ("cutt web", "there is no fault cutt"),
        ("cut", "cut needs at least 1"),
        ("cut web --net back", "cut does not take --net"),
        ("partition web", "partition needs at least 2"),
        ("partition web /", "partition needs at least 2"),
        ("slow db --rate 0mbit", "it must be more than zero"),
        ("slow db --rate 10", "is no rate: write a number with one of"),
        ("slow db --delay 0s", "it must be more than zero"),
        ("slow db --delay", "is no time"),
        ("slow db --loss 10", "write it as 10%"),
        ("slow db --loss 0%", "it must be more than zero"),
        ("slow db --loss 101%", "100% at most"),
        ("drop db --tcp 0", "are no ports"),
        ("drop db --tcp 90-80", "are no ports"),
        ("drop db --protocol smtp", "is no protocol"),
        ("dns web --fail", "dns does not take web"),
        ("dns --answer db", "write NAME=ADDRESS"),
        ("dns --answer db=here", "is no IPv4 address"),
        ("cut 'web", "can't be read"),
    ],
)
def test_what_can_not_be_read_is_refused_with_what_is_wrong(text: str, what: str) -> None:
    with pytest.raises(LagoError) as raised:
        words.parse(text)
    assert what in raised.value.what


def test_a_fault_names_its_machines_and_nets() -> None:
    fault = words.parse("slow web,app:eth1/db --loss 1%")
    assert fault.machines == {"web", "app", "db"}
    assert words.parse("cut net:back net").machines == {"net"}
    assert words.parse("cut net:back net").nets == {"back"}
    assert words.parse("partition a / b --net back").nets == {"back"}


def nft(text: str) -> subprocess.CompletedProcess[str]:
    """Load a ruleset in a network namespace of its own, and list what is there."""
    script = f"PATH=$PATH:/usr/sbin:/sbin; nft -f - && nft list table bridge {rules.TABLE}"
    argv = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", script]
    return subprocess.run(argv, input=text, capture_output=True, text=True, check=False)


@pytest.mark.programs
def test_nftables_takes_all_rules_and_lagos_own_way_comes_first() -> None:
    found = [
        *rules.of_or_for(["vnet0", "vnet1"]),
        *rules.across(["vnet0"], ["vnet1"], rules.lost(0.1)),
        *rules.across(["vnet0"], ["vnet1"], rules.over("f1_0")),
        *rules.across_but_neighbours(["vnet0"], ["vnet1"]),
        *rules.across(["vnet0"], ["vnet1"], "meta l4proto tcp th dport { 80, 8000-8100 }"),
        *shaping.plan([(words.parse("slow db --delay 1s"), ("vnet0", "vnet1"))]).rules,
    ]
    done = nft(rules.ruleset(found, ["192.168.200.1"], {"f1_0": 1_000_000}))
    assert done.returncode == 0, done.stderr
    for chain in ("inward", "outward"):
        part = done.stdout.partition(f"chain {chain}")[2]
        assert 0 < part.index("accept\n") < part.index("drop"), part
    assert nft(rules.ruleset([], ["192.168.200.1"], {})).returncode != 0, "a table without rules is left"


def test_no_device_is_no_rule_about_all() -> None:
    assert not [*rules.of_or_for([]), *rules.across([], ["vnet0"]), *rules.across(["vnet0"], [])]


def test_netem_does_what_all_faults_of_a_packet_say_together() -> None:
    slow, worse = words.parse("slow db --delay 200ms --corrupt 50%"), words.parse("slow db --delay 1s --corrupt 50%")
    assert shaping.words([(slow, 0.5), (worse, 0.5)]) == (*("limit", "100000", "delay", "600000us", "corrupt", "75%"),)
    plan = shaping.plan([(slow, ("a", "b")), (worse, ("a", "b")), (worse, ("", "b")), (slow, ("b", "a"))])
    assert plan.classes["b"][0] == shaping.words([(slow, 0.5), (worse, 0.5)])
    assert plan.classes["b"][1][2:4] == ("delay", "1000000us")
    assert [rule.text() for rule in plan.rules] == [
        'iifname { "a" } oifname { "b" } meta priority set 1a60:1',
        'oifname { "b" } meta priority set 1a60:2',
        'iifname { "b" } oifname { "a" } meta priority set 1a60:1',
    ]


@pytest.mark.programs
def test_the_kernel_takes_the_classes_with_another_leaf() -> None:
    batch = "\n".join(shaping.commands({"v0": [("limit", "10"), ("limit", "20")]}, leaf="pfifo"))
    script = "PATH=$PATH:/usr/sbin:/sbin; ip link add v0 type veth peer v1 && tc -batch - && tc qdisc show dev v0"
    argv = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", script]
    done = subprocess.run(argv, input=batch, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "htb 1a60:" in done.stdout
    assert done.stdout.count("pfifo") == 2, done.stdout


def test_a_wrong_answer_takes_the_place_of_all_that_a_name_has() -> None:
    records = {"10.0.0.1": ["web", "web-eth0"], "fd8f::1": ["web"], "10.0.0.2": ["db"]}
    faults = [words.parse("dns --answer web=10.0.0.2 --answer far=10.9.9.9")]
    assert wrong(records, faults) == {"10.0.0.1": ["web-eth0"], "10.0.0.2": ["db", "web"], "10.9.9.9": ["far"]}
    assert wrong(records, []) == records


def plan(prefix: Path, seed: int, kinds: Sequence[str] = ()) -> list[plans.Step]:
    return plans.plan(Prefix(str(prefix)).topology, seed, 300, kinds)


def test_the_same_seed_is_the_same_plan_of_faults_that_there_can_be(tmp_path: Path) -> None:
    prefix = make_prefix(tmp_path / "p", THREE)
    assert plan(prefix, 1) == plan(prefix, 1) != plan(prefix, 2)
    steps = [step for seed in range(50) for step in plan(prefix, seed)]
    assert {words.parse(step.fault).kind for step in steps} == set(plans.MAKERS) <= set(KINDS)
    assert all(0 <= step.at < step.until <= 300 for step in steps)
    assert {step.fault.split()[0] for step in plan(prefix, 3, ["cut", "dns"])} == {"cut", "dns"}
    assert not [
        step
        for step in steps
        if step.fault.startswith("power-cut")
        for other in steps
        if other != step and other.at == step.at and step.fault.split()[1] in other.fault and other.until == step.until
    ]
    with pytest.raises(LagoError, match="no plans with nothing"):
        plan(prefix, 1, ["nothing"])
    with pytest.raises(LagoError, match="partition takes 2 machines"):
        plan(make_prefix(tmp_path / "one"), 1, ["partition"])


def test_a_plan_is_shown_and_breaks_nothing(lago: Lago, tmp_path: Path) -> None:
    prefix = make_prefix(tmp_path / "p", THREE)
    out, err = lago.both("-p", str(prefix), "-f", "json", "chaos", "--seed", "7", "--for", "1m", "--plan")
    assert err.startswith("seed 7\n")
    assert '"seed": 7' in out
    assert lago("-p", str(prefix), "fault", "list") == ""


def test_faults_of_the_init_file_are_checked_with_the_rest(lago: Lago, tmp_path: Path) -> None:
    file = tmp_path / "LagoInitFile"
    bad = "faults: {split: partition web / dbb, cut: cut web, narrow: [slow db --rate 0mbit, 'cut net:bck']}\n"
    file.write_text(THREE + bad)
    _, err = lago.both("validate", str(file), code=2)
    assert "faults.split: 'partition web / dbb': there is no machine dbb, did you mean db?" in err
    assert "cut can't be the name of faults" in err
    assert "faults.narrow: 'slow db --rate 0mbit' can't be inflicted" in err
    assert "faults.narrow: 'cut net:bck': there is no net bck, did you mean back?" in err


def test_a_damaged_record_is_told(tmp_path: Path) -> None:
    paths = Paths(str(make_prefix(tmp_path / "p")))
    assert acts.current(paths) == []
    Path(paths.faults()).write_text('{"faults": 1}')
    with pytest.raises(PrefixError, match="is damaged"):
        Record.load(paths)
