"""Nets of all types under real guests: names, IPv6, packet sizes, and who reaches whom."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago.environment.prefix import Prefix
from lago.errors import SSHError, VMNotReady
from lago.virt import VirtEnv

INIT_FILE = """
prototypes:
  small:
    memory: 128M
    vcpu: 1
    disks: [{template_name: mini}]
domains:
  vm0: {based-on: small, root-password: "s3cret", nics: [{net: lab}, {net: wire}, {net: data}]}
  vm1: {based-on: small, vcpu: 2, cpu_model: Nehalem, nics: [{net: lab}, {net: wire}, {net: data}]}
  vm2: {based-on: small, nics: [{net: lab}, {net: data, ip: 10.20.30.40}]}
nets:
  lab: {management: true, mtu: 1400, dns_domain_name: lab.example, dns_records: {www: vm1, far: 10.9.8.7}}
  wire: {type: bridge}
  data: {type: isolated}
"""


@pytest.fixture(scope="module")
def env(base: Path, store: Path) -> Iterator[VirtEnv]:
    init_file = base / "nets.yaml"
    init_file.write_text(INIT_FILE)
    prefix = Prefix.create(str(base / "nets" / "default"), str(init_file))
    try:
        prefix.start()
        yield prefix.virt_env
    finally:
        prefix.virt_env.close()
        prefix.destroy()


def said(env: VirtEnv, vm: str, command: str) -> str:
    status = env.get_vm(vm).ssh(command)
    assert status.code == 0, (command, status)
    return status.out.decode()


def test_machines_know_each_other_by_name_on_every_net_with_addresses(env: VirtEnv) -> None:
    for name in ("vm1", "vm1-data", "vm2.lab.example", "vm2-eth1"):
        said(env, "vm0", f"ping -c 1 -W 5 {name}")
    assert "search lab.example" in said(env, "vm2", "cat /etc/resolv.conf")


def test_records_of_the_init_file_are_addresses_or_other_names(env: VirtEnv) -> None:
    lab = env.get_net("lab")
    assert lab.resolve("www") == lab.resolve("vm1")
    said(env, "vm2", "ping -4 -c 1 -W 5 www")
    assert "10.9.8.7" in said(env, "vm2", f"nslookup far {lab.gw()}")


def test_a_guest_has_the_ipv6_address_that_its_name_leads_to(env: VirtEnv) -> None:
    ip6 = env.get_vm("vm1").spec.nics[0].ip6
    assert ip6 is not None
    assert ip6 in said(env, "vm1", "ip -6 addr show dev eth0")
    assert ip6 in said(env, "vm0", f"nslookup vm1 {env.get_net('lab').gw()}")
    said(env, "vm0", f"ping -6 -c 1 -W 5 {ip6}")
    assert "default" not in said(env, "vm0", "ip -6 route")


def test_the_size_of_packets_is_that_of_the_net(env: VirtEnv) -> None:
    assert said(env, "vm0", "cat /sys/class/net/eth0/mtu /sys/class/net/eth2/mtu").split() == ["1400", "1500"]


def test_a_bridge_carries_whatever_its_guests_agree_on(env: VirtEnv) -> None:
    for number, vm in enumerate(("vm0", "vm1"), 1):
        assert "inet " not in said(env, vm, "ip addr show dev eth1")
        said(env, vm, f"ip addr add 172.31.9.{number}/24 dev eth1")
    said(env, "vm0", "ping -c 1 -W 5 172.31.9.2")
    assert env.get_net("wire").gw() is None
    assert env.get_net("wire").alive()


def test_an_isolated_net_leads_nowhere(env: VirtEnv) -> None:
    data = env.get_net("data")
    assert "10.20.30.40" in said(env, "vm2", "ip addr show dev eth1")
    assert "default" not in said(env, "vm0", "ip route show dev eth2")
    # Not even for those that try.
    lab_gw = env.get_net("lab").gw()
    tried = f"ip route add 203.0.113.7 via {data.gw()} dev eth2; ping -c 1 -W 2 203.0.113.7"
    assert env.get_vm("vm0").ssh(tried).code != 0
    said(env, "vm0", f"ping -c 1 -W 5 {lab_gw}")


def test_a_guest_is_logged_in_to_by_password_where_it_knows_no_key(env: VirtEnv) -> None:
    guest = env.get_vm("vm0").guest
    said(env, "vm0", "mv /root/.ssh/authorized_keys /root/keys")
    try:
        for password, works in (("wrong", False), ("s3cret", True)):
            other = guest._replace(control=f"{guest.control}-pw", passwords=(password,))
            try:
                with contextlib.nullcontext() if works else pytest.raises(SSHError):
                    other.open(30)
                    assert other.run("id -un").out == b"root\n"
            finally:
                other.close()
    finally:
        said(env, "vm0", "mv /root/keys /root/.ssh/authorized_keys")


def test_d41_logins_are_tried_as_often_and_with_the_password_that_the_settings_say(
    env: VirtEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    said(env, "vm0", "mv /root/.ssh/authorized_keys /root/keys")
    env.get_vm("vm0").guest.close()
    # What an init file says would win.
    description = Path(env.paths.virt("vm-vm0"))
    before = description.read_text()
    description.write_text(json.dumps({**json.loads(before), "root-password": None}))
    other = Prefix(env.paths.prefix()).virt_env
    try:
        monkeypatch.setenv("LAGO_SSH_TRIES", "1")
        with pytest.raises(VMNotReady, match="can't be logged in to") as raised:
            other.get_vm("vm0").connect()
        assert "within" not in raised.value.what
        monkeypatch.setenv("LAGO_SSH_PASSWORD", "s3cret")
        guest = other.guest("vm0")
        guest.open(60)
        assert guest.run("mv /root/keys /root/.ssh/authorized_keys").code == 0
    finally:
        other.close()
        description.write_text(before)


def test_the_password_and_the_processor_are_those_of_the_init_file(env: VirtEnv) -> None:
    assert said(env, "vm0", "grep ^root: /etc/shadow").startswith("root:$6$")
    assert "i7 9xx" in said(env, "vm1", "grep -m 1 'model name' /proc/cpuinfo")
    assert said(env, "vm1", "grep -c ^processor /proc/cpuinfo").strip() == "2"
