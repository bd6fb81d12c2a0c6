"""The template `debian12`: systemd learns the machine's name and key by credentials, and the guest agent answers."""

from __future__ import annotations

import subprocess

from .box import ONE, Box

DEBIAN = ONE.replace("mini", "debian12").replace("memory: 128", "memory: 512")


def test_a_debian_machine_answers_by_name_key_and_agent(box: Box) -> None:
    box.write(DEBIAN)
    box.env["LAGO_BOOT_TIMEOUT"] = "60"
    box.lago("init")
    box.lago("start")
    assert box.shell("vm0", "hostname; cat /etc/hostname; . /etc/os-release; echo $ID $VERSION_ID") == (
        "vm0\nvm0\ndebian 12\n"
    )
    assert box.shell("vm0", "systemctl is-active ssh systemd-networkd") == "active\nactive\n"
    assert "192.168.200.2/24" in box.shell("vm0", "ip -o -4 addr")
    assert box.shell("vm0", "getent ahostsv4 vm0-lan.lago.local").split()[0] == "192.168.200.2"
    uri = f"qemu+unix:///system?socket={box.run_dir}/libvirt-sock"
    virsh = ["virsh", "-q", "-c", uri]
    [name] = subprocess.check_output([*virsh, "list", "--name"], text=True, stdin=subprocess.DEVNULL).split()
    asked = [*virsh, "qemu-agent-command", "--timeout", "60", name, '{"execute": "guest-ping"}']
    assert subprocess.check_output(asked, text=True, stdin=subprocess.DEVNULL).strip() == '{"return":{}}'
    box.lago("stop")
    assert box.states() == {"vm0": "down"}
