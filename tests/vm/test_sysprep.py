"""Disks that are changed before their machines first start, by real libguestfs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from lago import Prefix, sysprep
from lago.bootstrap import sysprep as method
from lago.guestfs import programs

from .box import Box

INIT_FILE = """\
domains:
  deb:
    memory: 512
    vcpu: 1
    bootstrap: virt-sysprep
    distro: el7
    root-password: by-hand
    files: {/etc/lago/note: {content: "100% of it: yes\\n", mode: "0640"}}
    nics: [{net: lan}]
    disks: [{template_name: debian12}]
  small:
    memory: 128
    vcpu: 1
    nics: [{net: lan}]
    disks:
      - template_name: mini
        build:
          - virt-customize:
              upload: said.txt:/etc/said
              ssh-inject: ""
              run-command: [cat /etc/said >/etc/twice, cat /etc/said >>/etc/twice]
nets: {lan: {}}
"""
_PATIENCE = 550
FAILING = """\
domains:
  vm0: {disks: [{template_name: mini, build: [virt-customize: {run-command: "echo it is so >&2; exit 3"}]}]}
"""


@pytest.fixture(scope="module")
def box(module_box: Box) -> Box:
    """Two machines: one disk is prepared with every mod at once, the other is built."""
    module_box.write(INIT_FILE)
    module_box.write("said\n", "said.txt")
    # The appliance is made first.
    with module_box.popen("init", "--skip-bootstrap") as process:
        _, err = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 0, err
    return module_box


@pytest.mark.slow
def test_a_machine_has_what_virt_sysprep_and_virt_customize_put_there(box: Box) -> None:
    prefix = Prefix(str(box.prefix))
    deb = prefix.topology.domains["deb"]
    disk = box.prefix / deb.disks[0].path
    sysprep.sysprep(str(disk), [*method.mods(deb, prefix.paths), sysprep.set_selinux_mode("enforcing")])
    box.lago("start")
    assert box.shell("deb", "hostname") == "deb\n"
    assert box.shell("deb", "stat -c '%a %u:%g' /root/.ssh /root/.ssh/authorized_keys") == "700 0:0\n600 0:0\n"
    assert box.shell("deb", "cat /root/.ssh/authorized_keys") == (box.prefix / "id_rsa.pub").read_text()
    assert box.shell("deb", "cat /etc/iscsi/initiatorname.iscsi") == "InitiatorName=iqn.2014-07.org.lago:deb\n"
    assert box.shell("deb", "cat /etc/selinux/config") == "SELINUX=enforcing\nSELINUXTYPE=targeted\n"
    script = box.shell("deb", "cat /etc/sysconfig/network-scripts/ifcfg-eth0").splitlines()
    mac = deb.nics[0].mac
    assert script == ['TYPE="Ethernet"', 'BOOTPROTO="dhcp"', 'ONBOOT="yes"', 'NAME="eth0"', f'HWADDR="{mac}"']
    assert box.shell("deb", "stat -c %a /etc/lago/note; cat /etc/lago/note") == "640\n100% of it: yes\n"
    salted = box.shell("deb", "grep ^root: /etc/shadow").split(":")[1]
    check = f"import crypt; print(crypt.crypt('by-hand', '{salted}') == '{salted}')"
    assert salted.startswith("$"), check
    assert box.shell("small", "cat /etc/said /etc/twice") == "said\nsaid\nsaid\n"


@pytest.mark.slow
def test_a_builder_that_fails_is_heard_and_nothing_is_left(mini: Path, tmp_path: Path) -> None:
    other = Box(tmp_path)
    other.write(FAILING)
    # Where the appliance of libguestfs is not there yet, it is made first.
    failed = other.lago("init", code=2, patience=_PATIENCE)
    assert "cannot build the disk root: virt-customize failed" in failed.err
    assert "exit status 3" in failed.err or "it is so" in failed.err
    assert not (tmp_path / ".lago").exists()
    other.lago("init", "--skip-build")
    other.close()


def test_a_host_without_a_kernel_uses_that_of_the_template(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_BOOT", "/nonexistent")
    env = programs.environment()
    modules = Path(env["SUPERMIN_MODULES"])
    assert modules.name == env["SUPERMIN_KERNEL_VERSION"]
    assert list(modules.rglob("virtio_scsi.ko*"))
    kind = subprocess.run(["file", "-bL", env["SUPERMIN_KERNEL"]], capture_output=True, text=True, check=False)
    assert kind.returncode or re.search("boot executable,? bzImage", kind.stdout)


def test_that_kernel_is_lagos_own_whatever_repository_is_named(
    mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_BOOT", "/nonexistent")
    document = tmp_path / "repository.json"
    document.write_text('{"name": "others", "sources": {}, "templates": {}}')
    monkeypatch.setenv("LAGO_TEMPLATE_REPO_PATH", str(document))
    assert Path(programs.environment()["SUPERMIN_KERNEL"]).name.startswith("lago:mini:")
