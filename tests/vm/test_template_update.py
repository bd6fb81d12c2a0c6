"""New versions of templates, recipes that add to `mini`, and appliances."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from ..unit.disks.test_ova import DISK, OVF
from .box import ONE, Box


@pytest.fixture
def own(box: Box, mini: Path, tmp_path: Path) -> Box:
    """A box with a store of its own that has `mini`."""
    store = tmp_path / "store"
    store.mkdir()
    for path in mini.glob("lago:mini:*"):
        shutil.copy(path, store)
    box.env["LAGO_TEMPLATE_STORE"] = str(store)
    return box


def test_a_script_makes_a_new_version_and_a_failing_one_none(own: Box) -> None:
    recipe = own.write("base: mini\nfiles: {/etc/which: {content: mine}}\n", "mine.yaml")
    own.lago("template", "build", "mine", "--file", str(recipe))
    own.write("grep -q mine /etc/which || { echo only mine >&2; exit 4; }\necho new >/etc/new\n", "new.sh")
    done = own.lago("-f", "json", "template", "update", "mini", "mine", "--script", "new.sh", code=2)
    report = json.loads(done.out)
    assert (
        report["mini"]["error"]
        == "the script ended with status 4\n    grep: /etc/which: No such file or directory\n    only mine"
    )
    assert report["mine"]["id"] == f"local:mine:{report['mine']['version']}"
    own.write(ONE.replace("mini", "mine"))
    own.lago("init")
    own.lago("start")
    assert own.shell("vm0", "cat /etc/which /etc/new; wc -l </root/.ssh/authorized_keys") == "minenew\n1\n"
    assert not list(Path(own.env["LAGO_TEMPLATE_STORE"]).glob(".update-*"))


def test_a_script_that_is_not_there_is_an_error(own: Box) -> None:
    assert "none.sh can't be read" in own.lago("template", "update", "mini", "--script", "none.sh", code=2).err


def test_a_machine_is_made_of_an_appliance(box: Box) -> None:
    raw, vmdk = box.place / "raw", box.place / "disk.vmdk"
    raw.write_bytes(b"lago" * 1024)
    subprocess.run(["qemu-img", "resize", "-q", "-f", "raw", raw, "8M"], check=True)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", raw, vmdk], check=True)
    ovf = OVF.format(href="disk.vmdk", units="byte * 2^20", memory="96", disks=DISK).encode()
    with tarfile.open(box.place / "app.ova", "w") as tar:
        member = tarfile.TarInfo("app.ovf")
        member.size = len(ovf)
        tar.addfile(member, io.BytesIO(ovf))
        tar.add(vmdk, "disk.vmdk")
    box.write(
        'domains: {app: {type: ova, url: "file://$LAGO_INITFILE_PATH/app.ova", bootstrap: none, disks: [{size: 1M}]}}\n'
    )
    box.lago("init")
    stored = json.loads((box.prefix / "virt" / "vm-app").read_text())
    assert (stored["memory"], stored["vcpu"]) == (96, 3)
    assert [(disk["name"], disk["dev"]) for disk in stored["disks"]] == [("ova", "vda"), ("root", "vdb")]
    image = box.prefix / "images" / "app_ova.qcow2"
    subprocess.run(["qemu-img", "compare", "-q", image, raw], check=True)
    assert sorted(path.name for path in image.parent.iterdir()) == ["app_ova.qcow2", "app_root.qcow2"]
