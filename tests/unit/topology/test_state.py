"""A topology on disk."""

from __future__ import annotations

import dataclasses
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lago.errors import PrefixError
from lago.host import files
from lago.paths import Paths
from lago.topology import state
from lago.topology.address import Address
from lago.topology.given import DhcpRange, GuestFile, Share, key_of
from lago.topology.model import Disk, Domain, Net, Nic, TemplateImage, Topology


def any_topology(seed: int) -> Topology:
    chance = random.Random(seed)

    def some(make: Callable[[int], Any], most: int = 3) -> tuple[Any, ...]:
        return tuple(make(i) for i in range(chance.randint(0, most)))

    def text() -> str:
        return "".join(chance.choices('abé/ "\\\n$😀0', k=chance.randint(1, 8)))

    def address() -> Address:
        return Address.of(10, *(chance.randint(0, 255) for _ in range(3)))

    def free(depth: int = 0) -> Any:
        kinds: list[Callable[[], Any]] = [text, lambda: chance.randint(-9, 9), lambda: None, lambda: True, lambda: 1.5]
        if depth < 3:
            kinds += [lambda: [free(depth + 1) for _ in range(2)], lambda: {text(): free(depth + 1) for _ in range(2)}]
        return chance.choice(kinds)()

    def nic(index: int) -> Nic:
        return Nic(index=index, net=chance.choice("ab"), mac=text(), ip=chance.choice([None, address()]))

    def disk(index: int) -> Disk:
        image = TemplateImage(id=text(), path=text(), format="raw", metadata={text(): free()})
        template = chance.choice([None, image])
        return Disk(
            name=text(),
            type="template" if template else "empty",
            dev=text(),
            format=chance.choice(["qcow2", "raw"]),
            path=f"images/{text()}",
            serial=str(index),
            size=chance.choice([None, 10**15]),
            template=template,
        )

    def domain(index: int) -> Domain:
        return Domain(
            name=f"vm{9 - index}",
            memory=chance.randint(1, 10**6),
            vcpu=chance.randint(1, 255),
            nics=some(nic),
            disks=some(disk),
            mgmt_net=chance.choice([None, "a"]),
            metadata={text(): free()},
            groups=some(lambda _: text()),
            artifacts=some(lambda _: text()),
        )

    def net(index: int) -> Net:
        return Net(
            name=f"net{9 - index}",
            type="nat",
            management=chance.choice([True, False]),
            gw=address(),
            dhcp=chance.choice([None, DhcpRange(start=2, end=9)]),
            mapping={text(): text()},
        )

    return Topology(
        domains={vm.name: vm for vm in some(domain)},
        nets={one.name: one for one in some(net)},
    )


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(str(tmp_path))


@pytest.fixture
def saved(paths: Paths) -> Paths:
    image = TemplateImage(id="local:mini:1", path="/store/mini", format="qcow2", metadata={"distro": "mini"})
    disk = Disk(
        name="root",
        type="template",
        dev="vda",
        format="qcow2",
        path="images/vm0_root.qcow2",
        serial="1",
        template=image,
    )
    nic = Nic(index=0, net="lab", mac="54:52:c0:a8:c8:02", ip=Address("192.168.200.2"))
    vm = Domain(name="vm0", memory=256, vcpu=1, nics=(nic,), disks=(disk,), mgmt_net="lab")
    lab = Net(
        name="lab",
        type="nat",
        management=True,
        gw=Address("192.168.200.1"),
        dhcp=None,
        mapping={"vm0": "192.168.200.2"},
    )
    state.save(paths, Topology(domains={"vm0": vm}, nets={"lab": lab}))
    return paths


@pytest.mark.parametrize("seed", range(40))
def test_what_is_saved_is_loaded(seed: int, paths: Paths) -> None:
    topology = any_topology(seed)
    state.save(paths, topology)
    loaded = state.load(paths)
    assert loaded == topology
    assert [list(loaded.domains), list(loaded.nets)] == [list(topology.domains), list(topology.nets)]


def test_files_are_those_of_earlier_lago(saved: Paths) -> None:
    assert sorted(os.listdir(saved.virt())) == ["env", "net-lab", "vm-vm0"]
    env = Path(saved.virt("env")).read_text()
    assert json.loads(env) == {"nets": ["lab"], "vms": ["vm0"]}
    assert env.startswith('{\n    "nets"')
    vm = json.loads(Path(saved.virt("vm-vm0")).read_text())
    disk = {key: vm["disks"][0][key] for key in ("path", "dev", "format", "type", "metadata")}
    assert disk == {
        "path": "$LAGO_PREFIX_PATH/images/vm0_root.qcow2",
        "dev": "vda",
        "format": "qcow2",
        "type": "template",
        "metadata": {"distro": "mini"},
    }
    assert {key: vm["nics"][0][key] for key in ("ip", "net")} == {"ip": "192.168.200.2", "net": "lab"}


def test_the_list_of_names_is_written_last(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(state, "write_atomically", lambda path, _data: written.append(os.path.basename(path)))
    topology = any_topology(4)
    state.save(paths, topology)
    assert len(written) == len(topology.nets) + len(topology.domains) + 1
    assert written[-1] == "env"


@pytest.mark.parametrize("name", ["env", "net-lab", "vm-vm0"])
def test_a_missing_file_is_named_with_a_remedy(saved: Paths, name: str) -> None:
    os.unlink(saved.virt(name))
    with pytest.raises(PrefixError, match=f"/virt/{name} is missing") as caught:
        state.load(saved)
    assert "lago destroy" in caught.value.hint


@pytest.mark.parametrize("name", ["env", "net-lab", "vm-vm0"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b"\xff", b'{"nets": 1, "vms": {}}'])
def test_a_damaged_file_is_named_with_a_remedy(saved: Paths, name: str, content: bytes) -> None:
    Path(saved.virt(name)).write_bytes(content)
    with pytest.raises(PrefixError, match=f"/virt/{name} is damaged") as caught:
        state.load(saved)
    assert caught.value.details
    assert "lago destroy" in caught.value.hint


@pytest.mark.parametrize(
    ("key", "value"), [("memory", "256"), ("memory", True), ("nics", [{}]), ("nics", None), ("disks", [{"path": "/x"}])]
)
def test_a_value_of_the_wrong_kind_is_damage(saved: Paths, key: str, value: object) -> None:
    file = Path(saved.virt("vm-vm0"))
    file.write_text(files.json_text({**json.loads(file.read_text()), key: value}))
    with pytest.raises(PrefixError, match="vm-vm0 is damaged"):
        state.load(saved)


def test_a_prefix_of_lago_1_0_is_read(paths: Paths) -> None:
    os.makedirs(paths.virt())

    def write(name: str, value: object) -> None:
        Path(paths.virt(name)).write_text(json.dumps(value, indent=4))

    write("env", {"nets": ["lab", "wire"], "vms": ["vm0"]})
    write("net-lab", {"name": "lab", "type": "nat", "management": True, "gw": "192.168.203.1", "dns_forward": None})
    write("net-wire", {"name": "wire", "type": "bridge"})
    disk: dict[str, Any] = {
        "name": "root",
        "dev": "vda",
        "format": "qcow2",
        "type": "template",
        "template_name": "el7",
        "size": "6G",
    }
    disk |= {"path": "$LAGO_PREFIX_PATH/images/vm0_root.qcow2", "metadata": {"distro": "el7"}}
    nics = [{"net": "lab", "ip": "192.168.203.2"}, {"net": "wire"}]
    write(
        "vm-vm0", {"name": "vm0", "nics": nics, "disks": [disk], "groups": "web", "root-password": "x", "snapshots": {}}
    )
    found = state.load(paths)
    vm = found.domains["vm0"]
    assert (vm.memory, vm.vcpu, vm.mgmt_net, vm.ip, vm.groups, vm.root_password) == (
        1024,
        2,
        "lab",
        "192.168.203.2",
        ("web",),
        "x",
    )
    assert vm.nics[0].mac == "54:52:c0:a8:cb:02"
    assert (vm.disks[0].path, vm.disks[0].serial, vm.image) == ("images/vm0_root.qcow2", "1", {"distro": "el7"})
    assert (found.nets["wire"].gw, found.nets["lab"].mapping) == (None, {})
    state.save(paths, found)
    assert state.load(paths) == found


def test_an_address_that_is_none_is_damage(saved: Paths) -> None:
    file = Path(saved.virt("net-lab"))
    file.write_text(files.json_text({**json.loads(file.read_text()), "gw": "192.168.200"}))
    with pytest.raises(PrefixError, match="net-lab is damaged") as caught:
        state.load(saved)
    assert caught.value.details == "192.168.200 is no IPv4 address"


def test_addresses_that_are_loaded_are_read(saved: Paths) -> None:
    loaded = state.load(saved)
    assert (loaded.nets["lab"].gw, loaded.domains["vm0"].nics[0].ip) == ("192.168.200.1", "192.168.200.2")
    assert isinstance(loaded.nets["lab"].gw, Address)
    assert isinstance(loaded.domains["vm0"].nics[0].ip, Address)


def test_every_attribute_is_on_disk(saved: Paths) -> None:
    vm, net = (json.loads(Path(saved.virt(name)).read_text()) for name in ("vm-vm0", "net-lab"))
    assert vm.keys() == {key_of(one) for one in dataclasses.fields(Domain)}
    assert net.keys() == {key_of(one) for one in dataclasses.fields(Net)}
    assert vm["disks"][0].keys() == {key_of(one) for one in dataclasses.fields(Disk)} | {"own_metadata"}
    assert vm["nics"][0].keys() == {one.name for one in dataclasses.fields(Nic)} - {"index"}


def test_every_value_of_a_machine_is_kept(paths: Paths) -> None:
    vm = Domain(
        name="vm0",
        memory=64,
        vcpu=1,
        nics=(),
        disks=(Disk(name="a", type="file", dev="sda", format="iso", path="/a.iso", serial="1", source="/b"),),
        mgmt_net=None,
        cpu_custom={"@mode": "x"},
        firmware="uefi",
        secure_boot=True,
        tpm=True,
        machine="pc",
        boot="disk",
        bootstrap="none",
        shares=(Share(path="/s", tag="s"),),
        files={"/a": GuestFile(content="a"), "/b": GuestFile(content="b", mode="755")},
        cloud_init={"a": [1]},
        ssh_user="u",
        ssh_password="p",
        boot_time_sec=5,
        vm_type="t",
        skip_export=True,
    )
    net = Net(
        name="n",
        type="isolated",
        management=False,
        gw=Address("10.0.0.1"),
        dhcp=None,
        mapping={},
        ipv6="fd8f:1",
        mtu=1400,
    )
    topology = Topology(domains={"vm0": vm}, nets={"n": net})
    state.save(paths, topology)
    assert state.load(paths) == topology
