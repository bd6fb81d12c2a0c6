"""Machines with names that are no host names: commands, files and libvirt have them as written, guests and DNS both."""

from __future__ import annotations

from pathlib import Path

import pytest

from lago import Prefix

from .box import MINI, Box

INIT_FILE = f"""\
comment: as earlier releases took it
domains:
  My_VM: {MINI % "{net: lan_1, comment: the only one}"}
  lab.Host_2: {MINI % "{net: lan_1}, {net: back}"}
nets: {{lan_1: {{management: true, dns_records: {{www: My_VM}}}}, back: {{}}}}
"""


@pytest.fixture(scope="module")
def box(module_box: Box) -> Box:
    """Two machines of such names, started."""
    module_box.up(INIT_FILE)
    return module_box


def test_guests_are_called_by_the_nearest_host_names(box: Box) -> None:
    assert box.shell("My_VM", "hostname") == "My-VM\n"
    assert box.shell("lab.Host_2", "hostname") == "lab.Host-2\n"
    assert box.states() == {"My_VM": "running", "lab.Host_2": "running"}


def test_dns_answers_for_names_as_written_and_for_host_names(box: Box) -> None:
    topology = Prefix(str(box.prefix)).topology
    first, second = topology.domains["My_VM"], topology.domains["lab.Host_2"]
    back = second.nics[1].ip
    expected = {
        **dict.fromkeys(("My_VM", "my_vm", "My-VM", "My_VM-eth0", "My-VM-lan_1", "www", "My-VM.lago.local"), first.ip),
        **dict.fromkeys(("lab.Host_2", "lab.host-2", "lab.Host_2-eth0"), second.ip),
        **dict.fromkeys(("lab.Host_2-back", "lab.Host-2-eth1"), back),
    }
    words = " ".join(expected)
    look = f"for name in {words}; do ping -4 -c 1 -W 1 $name 2>&1 | sed -n 's/^PING .*(\\(.*\\)).*/\\1/p'; done"
    assert dict(zip(expected, box.shell("My_VM", look).split(), strict=True)) == expected


def test_files_and_libvirt_have_the_names_as_written(box: Box) -> None:
    for name in ("My_VM", "lab.Host_2"):
        for path in (f"images/{name}_root.qcow2", f"virt/vm-{name}", f"logs/{name}.console.log"):
            assert (box.prefix / path).is_file()
        assert box.qemu(name)


def test_commands_take_the_names_as_written(box: Box, tmp_path: Path) -> None:
    box.write("sent\n", "note")
    box.lago("copy-to-vm", "My_VM", "note", "/root/note")
    box.lago("copy-from-vm", "My_VM", "/root/note", str(tmp_path / "note"))
    assert (tmp_path / "note").read_text() == "sent\n"
    config = box.lago("ssh-config").out
    assert [line for line in config.splitlines() if line.startswith("Host ")] == ["Host My_VM", "Host lab.Host_2"]
    inventory = box.lago("ansible_hosts").out
    assert {line.split()[0] for line in inventory.splitlines() if "ansible_host=" in line} == {"My_VM", "lab.Host_2"}
    box.lago("collect", "--output", str(tmp_path / "out"))
    assert (tmp_path / "out" / "lab.Host_2" / "console.log").is_file()
    assert "did you mean My_VM?" in box.lago("shell", "My-VM", "-c", "true", code=2).err


@pytest.mark.slow
def test_snapshots_forks_and_exports_have_the_names_as_written(box: Box, tmp_path: Path) -> None:
    box.shell("My_VM", "echo before >/root/when; sync")
    box.lago("snapshot", "then")
    assert list((box.prefix / "snapshots").glob("*.lab.Host_2.*"))
    box.shell("My_VM", "echo after >/root/when; sync")
    box.lago("revert", "then")
    assert box.shell("My_VM", "cat /root/when; hostname") == "before\nMy-VM\n"
    box.lago("stop")
    box.lago("export", "--dst-dir", str(tmp_path / "e"))
    other = Box(tmp_path / "e")
    try:
        other.lago("init")
        other.lago("start")
        assert other.shell("My_VM", "cat /root/when; hostname") == "before\nMy-VM\n"
    finally:
        other.close()
