"""The same on a system's libvirt, one that the tests start: shared networks, leased subnets, objects side by side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from lago.journal.reading import entries

from .box import TWO, Box, processes, wait_for

SCRIPT = Path(__file__).with_name("system_libvirtd.py")
SOMEBODYS = """<network><name>somebodys</name><forward mode='nat'/><bridge name='sb0'/>
<ip address='192.168.200.1' netmask='255.255.255.0'/></network>"""


@dataclass(frozen=True)
class System:
    """A host with a system libvirt; `wrap` runs a program on it."""

    wrap: list[str]
    uri: str

    def virsh(self, *words: str) -> str:
        """What virsh says."""
        argv = [*self.wrap, "virsh", "-q", "-c", self.uri, *words]
        return subprocess.run(argv, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout

    def names(self) -> set[str]:
        """All machines and networks."""
        return set(self.virsh("list", "--all", "--name").split() + self.virsh("net-list", "--all", "--name").split())

    def tpms(self) -> list[str]:
        """Directories with contents of TPMs."""
        argv = [*self.wrap, "ls", "/var/lib/libvirt/swtpm"]
        return subprocess.run(argv, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout.split()


def _child(pid: int) -> int | None:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A libvirtd on which somebody has the first of our subnets."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a system libvirtd")
    place = tmp_path_factory.mktemp("s")
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    # In /run there is what a libvirt of the host's has, and nothing of ours is added to it.
    run = tmp_path_factory.mktemp("run")
    (run / "libvirt" / "qemu").mkdir(parents=True)
    there = 'mount --bind "$1" /run && shift && exec "$@"'
    argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    argv += ["sh", "-c", there, "sh", str(run), sys.executable, str(SCRIPT)]
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            [*argv, str(place)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "PATH": path}
        )
    try:
        listening = wait_for((place / "libvirt-sock").exists)
        assert listening, (place / "log").read_text()
        pid = _child(process.pid)
        wrap = ["nsenter", f"--target={pid}", "--mount", "--net", "--pid", "--wd=/"]
        made = System(wrap, f"qemu+unix:///system?socket={quote(str(place))}/libvirt-sock")
        (place / "net.xml").write_text(SOMEBODYS)
        made.virsh("net-define", str(place / "net.xml"))
        yield made
    finally:
        process.kill()
        process.wait()
    assert sorted(run.rglob("*")) == [run / "libvirt", run / "libvirt" / "qemu"]


@pytest.fixture(scope="module")
def prepared(mini: Path, system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """An environment on it."""
    place = tmp_path_factory.mktemp("box")
    # An address with parameters is obeyed only where the configuration has the same.
    env = {"LAGO_LEASE_DIR": str(place / "leases"), "LAGO_LIBVIRT_URL": system.uri}
    made = Box(place, env=env, wrap=[*system.wrap, "env", f"--chdir={place}"])
    made.write(
        TWO.replace("{net: lan}", "{net: lan}, {net: wire}").replace("{lan: {}}", "{lan: {}, wire: {type: bridge}}")
    )
    made.lago("--libvirt_url", system.uri, "init")
    yield made
    made.close()


def _leases(box: Box) -> set[str]:
    found = (box.place / "leases").glob("*.lease")
    return {path.name for path in found}


def test_init_leases_a_subnet_that_nobody_has(prepared: Box, system: System) -> None:
    assert prepared.status()["Networks"]["lan"]["gateway"] == "192.168.201.1"
    assert _leases(prepared) == {"201.lease"}
    assert prepared.states() == {"vm0": "down", "vm1": "down"}
    assert system.names() == {"somebodys"}


def test_an_address_that_names_a_socket_is_not_taken_from_the_environment(prepared: Box) -> None:
    done = prepared.lago("status", code=2, env={"LAGO_LIBVIRT_URL": ""})
    assert (
        f"lago: {prepared.prefix}/metadata names a libvirt by more than a host: qemu+unix:///system?socket=" in done.err
    )


def test_a_second_environment_gets_another_subnet_and_gives_it_back(prepared: Box, system: System) -> None:
    prepared.lago("--libvirt_url", system.uri, "--prefix-name", "second", "init", "--keep-current")
    assert "192.168.202.1" in prepared.lago("--prefix-name", "second", "-f", "flat", "status").out
    assert _leases(prepared) == {"201.lease", "202.lease"}
    prepared.lago("--prefix-name", "second", "destroy", "--yes")
    assert _leases(prepared) == {"201.lease"}


def test_machines_start_find_each_other_and_answer(prepared: Box, system: System) -> None:
    prepared.lago("start")
    assert prepared.states() == {"vm0": "running", "vm1": "running"}
    assert len(system.names()) == 5
    assert prepared.shell("vm0", "hostname") == "vm0\n"
    assert "PING vm1 (192.168.201.3)" in prepared.shell("vm0", "ping -4 -c 1 -W 5 vm1")
    done = prepared.lago("shell", "vm1", data="[[ 1 ]] && exit 7\n", code=7)
    assert done.err == ""


@pytest.mark.slow
def test_the_journal_has_consoles_states_and_addresses(prepared: Box) -> None:
    def told() -> set[tuple[str, str]]:
        return {(one["kind"], one.get("vm", "")) for one in entries(str(prepared.prefix))}

    wanted = {(kind, vm) for kind in ("console", "state", "lease", "ssh") for vm in ("vm0", "vm1")}
    assert wait_for(lambda: wanted <= told(), 60), told()


def test_links_are_broken_as_far_as_libvirt_does_it_and_the_rest_is_refused(prepared: Box, system: System) -> None:
    [cut] = json.loads(prepared.lago("-f", "json", "fault", "cut", "vm1:eth1").out)
    assert cut["means"] == "libvirt: the link is down"
    carrier = "cat /sys/class/net/eth1/carrier"
    assert wait_for(lambda: prepared.shell("vm1", carrier) == "0\n")
    # libvirt's bandwidth needs more of the kernel than every kernel has.
    narrow = prepared.lago("fault", "slow", "vm1:eth0", "--rate", "8mbit", code=None)
    if narrow.code:
        assert "modprobe sch_sfq" in narrow.err
        assert "slow" not in prepared.lago("fault", "list").out
    else:
        assert "inbound.average: 976" in _bandwidth(system)
    refused = prepared.lago("fault", "partition", "vm0", "/", "vm1", code=2).err
    assert "shared with others, partition can't be done" in refused
    assert "libvirt_url = private" in refused
    prepared.lago("heal")
    assert wait_for(lambda: prepared.shell("vm1", carrier) == "1\n")
    assert "inbound.average: 0" in _bandwidth(system)


def _bandwidth(system: System) -> str:
    """What virsh says of the first nic of vm1."""
    [vm1] = [name for name in system.names() if name.endswith("-vm1")]
    return system.virsh("domiftune", vm1, system.virsh("domiflist", vm1).split()[0])


def bridges(system: System) -> list[str]:
    """The bridge devices of the host that are named as ours are."""
    argv = [*system.wrap, "ip", "-o", "link", "show", "type", "bridge"]
    said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return [name for line in said.splitlines() if (name := line.split(": ")[1]).startswith("lago-")]


def test_d39_a_bridge_of_the_host_connects_machines_and_comes_back_when_libvirt_forgot_it(
    prepared: Box, system: System
) -> None:
    assert len(bridges(system)) == 2
    for vm, octet in (("vm0", 1), ("vm1", 2)):
        prepared.shell(vm, f"ip address add 10.99.0.{octet}/24 dev eth1 && ip link set eth1 up")
    assert "1 packets received" in prepared.shell("vm0", "ping -c 1 -W 5 10.99.0.2")
    # The device is there, but libvirt does not know the net any more.
    wire = next(name for name in system.names() if name.endswith("-wire"))
    system.virsh("net-destroy", wire)
    system.virsh("net-undefine", wire)
    prepared.lago("start")
    assert wire in system.names()
    assert "1 packets received" in prepared.shell("vm0", "ping -c 1 -W 5 10.99.0.2")


def test_programs_need_no_namespace(prepared: Box) -> None:
    done = prepared.lago("nsexec", "--", "true", code=2)
    assert "hint: run the program as it is" in done.err


def test_stop_takes_away_what_is_ours_alone(prepared: Box, system: System) -> None:
    prepared.lago("stop", "vm0")
    assert prepared.states() == {"vm0": "down", "vm1": "running"}
    prepared.lago("stop")
    assert system.names() == {"somebodys"}
    assert bridges(system) == []
    assert not [command for _, command in processes() if str(prepared.prefix) in command]
    assert _leases(prepared) == {"201.lease"}


def test_destroy_frees_the_lease(prepared: Box, system: System) -> None:
    prepared.lago("destroy", "--yes")
    assert _leases(prepared) == set()
    assert not (prepared.place / ".lago").exists()
    assert system.names() == {"somebodys"}


@pytest.mark.slow
def test_what_a_tpm_keeps_ends_with_the_environment(prepared: Box, system: System) -> None:
    text = "domains: {vm0: {memory: 256, vcpu: 1, firmware: uefi, tpm: true, disks: [{template_name: mini}]"
    prepared.write(f"{text}, nics: [{{net: lan}}]}}}}\nnets: {{lan: {{}}}}\n", "Firmware")
    prepared.lago("--libvirt_url", system.uri, "init", "Firmware")
    prepared.lago("start")
    assert prepared.shell("vm0", "cat /sys/class/tpm/tpm0/tpm_version_major") == "2\n"
    prepared.lago("stop")
    assert system.names() == {"somebodys"}
    assert (prepared.prefix / "images" / "vm0_nvram.fd").is_file()
    assert len(system.tpms()) == 1
    prepared.lago("destroy", "--yes")
    assert system.tpms() == []
    assert system.names() == {"somebodys"}


@pytest.mark.slow
def test_firmware_says_on_the_console_that_it_finds_nothing_to_start(prepared: Box, system: System) -> None:
    machine = "{memory: 128, vcpu: 1, machine: %s, disks: [{type: empty, size: 16M}], nics: [{net: lan}]}"
    text = "".join(f"  {name}: {machine % kind}\n" for name, kind in (("old", "pc"), ("new", "q35")))
    prepared.write(f"domains:\n{text}nets: {{lan: {{}}}}\n", "Nothing")
    prepared.lago("--libvirt_url", system.uri, "--prefix-name", "nothing", "init", "Nothing")
    said = prepared.lago("start", code=2, env={"LAGO_BOOT_TIMEOUT": "600"}).err
    for name in ("old", "new"):
        assert f"{name} did not answer ssh: its firmware finds nothing to start: Boot failed: not a bootable" in said
        assert "SeaBIOS (version " in prepared.lago("logs", name).out
        assert "bios useserial='yes'" in system.virsh("dumpxml", f"{prepared.status()['UUID'][:8]}-{name}")
    prepared.lago("destroy", "--yes")
    assert system.names() == {"somebodys"}


def test_a_failed_init_keeps_no_lease(prepared: Box, system: System) -> None:
    before = _leases(prepared)
    # That the image is none of its format is found when nets have their leases.
    prepared.write("no qcow2", "bad.qcow2")
    prepared.write(TWO.replace("template_name: mini", "path: bad.qcow2"), "Bad")
    done = prepared.lago("--libvirt_url", system.uri, "--prefix-name", "bad", "init", "Bad", code=2)
    assert "bad.qcow2 of the disk root is raw, not qcow2" in done.err
    assert _leases(prepared) == before


def test_a_libvirt_that_is_not_there_is_an_error_with_a_hint(box: Box) -> None:
    box.write(TWO)
    box.env["LAGO_LEASE_DIR"] = str(box.place / "leases")
    done = box.lago("--libvirt_url", f"qemu+unix:///system?socket={box.place}/none", "init", code=2)
    assert "lago: no connection to libvirt at qemu+unix:///system?socket=" in done.err
    assert "hint: is libvirtd running" in done.err
    assert not (box.place / ".lago").exists()
