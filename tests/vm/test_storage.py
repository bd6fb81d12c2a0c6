"""The example `examples/storage`: one machine exports storage by NFS and iSCSI, another one uses it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lago.templates import default_store, own

from ..users import REPOSITORY
from .box import Box

pytestmark = [pytest.mark.timeout(1800), pytest.mark.slow]

EXAMPLE = REPOSITORY / "examples" / "storage"
LUN = "/dev/disk/by-path/ip-192.168.200.2:3260-iscsi-iqn.2014-07.org.ovirt:storage-lun-"
ALL = f"{LUN}0 {LUN}1 {LUN}2 {LUN}3"


@pytest.fixture(scope="module")
def box(module_box: Box) -> Box:
    """The environment of the example, up and deployed."""
    identity = own.ensure(default_store(), own.recipe("storage", str(EXAMPLE / "recipe.yaml"), (), None))
    for path in EXAMPLE.iterdir():
        shutil.copy(path, module_box.place)
    # Other recipes of that name may be in the store, and newer.
    this = f"template_name: storage, template_version: {identity.rpartition(':')[2]}"
    text = (EXAMPLE / "LagoInitFile").read_text()
    assert text.count("template_name: storage") == 2
    module_box.write(text.replace("template_name: storage", this))
    module_box.env["LAGO_BOOT_TIMEOUT"] = "60"
    module_box.lago("init")
    module_box.lago("start", patience=400)
    module_box.lago("deploy", patience=600)
    return module_box


def _run(box: Box, vm: str, script: str) -> str:
    """Output of a script every command of which must succeed."""
    return box.shell(vm, f"set -eu\n{script}")


def test_what_one_writes_to_a_share_the_other_one_reads(box: Box) -> None:
    mounts = _run(box, "client", "echo green >/mnt/share1/colour; findmnt -n -o SOURCE,FSTYPE -t nfs4")
    # They are mounted in whatever order they get there.
    assert sorted(line.split() for line in mounts.splitlines()) == [
        ["storage:/exports/iso", "nfs4"],
        ["storage:/exports/share1", "nfs4"],
    ]
    assert _run(box, "storage", "cat /exports/share1/colour; echo image >/exports/iso/some.iso") == "green\n"
    assert _run(box, "client", "cat /mnt/iso/some.iso; stat -c %u:%g /mnt/share1") == "image\n36:36\n"
    older = "mount -t nfs -o nfsvers=3,nolock storage:/exports/iso /media; cat /media/some.iso; umount /media"
    assert _run(box, "client", older) == "image\n"


def test_a_lun_keeps_a_file_system_over_logins(box: Box) -> None:
    sizes = f"udevadm wait --timeout=120 --settle {ALL}; lsblk -n -d -o SIZE {ALL}"
    assert _run(box, "client", sizes).split() == ["100G"] * 4
    _run(
        box,
        "client",
        f"""
        mkfs.ext4 -q {LUN}0 64M
        mkdir -p /lun
        mount {LUN}0 /lun
        echo round >/lun/shape
        umount /lun
        iscsiadm -m node --logoutall=all
        udevadm wait --removed --timeout=120 --settle {ALL}""",
    )
    login = f"iscsiadm -m node --loginall=all >/dev/null; udevadm wait --timeout=120 --settle {ALL}"
    assert _run(box, "client", f"{login}; mount {LUN}0 /lun; cat /lun/shape") == "round\n"
    # It is thin: what nobody wrote to takes no space.
    [used] = _run(box, "storage", "lvs --noheadings --units m --nosuffix -o data_percent iscsi/lun0").split()
    assert 0 < float(used) < 1


def test_scripts_may_run_again_and_disturb_nobody(box: Box) -> None:
    session = _run(box, "client", "iscsiadm -m session")
    before = box.lago("deploy", patience=600)
    assert "client: up" in before.err
    assert _run(box, "client", "iscsiadm -m session") == session
    assert _run(box, "client", "cat /mnt/share1/colour /lun/shape") == "green\nround\n"


def test_a_share_and_a_lun_in_use_survive_a_revert(box: Box) -> None:
    # A program that has a file of the share open, and writes to it what it is told.
    writer = "exec 3>>/mnt/share1/log; while :; do read -r line </run/words; echo $line >&3; sync /mnt/share1/log; done"
    _run(box, "client", f"mkfifo /run/words; systemd-run -q --unit=writer sh -c '{writer}'")
    log = "until grep -q {0} /exports/share1/log; do sleep 0.2; done; cat /exports/share1/log"
    _run(box, "client", "echo before >/run/words; echo small >/lun/size; sync -f /lun")
    assert _run(box, "storage", log.format("before")) == "before\n"
    box.lago("snapshot", "clean")
    _run(box, "client", "echo after >/run/words; echo large >/lun/size; sync -f /lun")
    assert _run(box, "storage", log.format("after")) == "before\nafter\n"
    box.lago("revert", "clean", patience=400)
    _run(box, "client", "systemctl is-active writer; echo again >/run/words")
    assert _run(box, "storage", log.format("again")) == "before\nagain\n"
    # Not out of the client's memory: from the target.
    fresh = f"umount /lun; blockdev --flushbufs {LUN}0; mount {LUN}0 /lun; cat /lun/size /lun/shape"
    assert _run(box, "client", fresh) == "small\nround\n"


@pytest.mark.parametrize(
    ("vm", "script", "change", "said"),
    [
        ("client", "nfs", ("", ""), "there is no /dev/vdb: give the machine an empty disk with dev: vdb"),
        ("client", "iscsi", ("", ""), "there is no /dev/vdc: give the machine an empty disk with dev: vdc"),
        ("storage", "nfs", ("disk=/dev/vdb", "disk=/dev/vdc"), "there is something else on /dev/vdc: "),
    ],
)
def test_a_disk_that_is_not_for_it_is_left_alone(
    box: Box, vm: str, script: str, change: tuple[str, str], said: str
) -> None:
    text = Path(EXAMPLE, f"setup_storage_{script}.sh").read_text().replace(*change)
    assert said in box.lago("shell", vm, "-c", "bash -s", data=text, code=1).err
