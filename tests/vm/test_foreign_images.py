"""Guests and strangers who would have files of this host: what they write is never taken for more than bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from .box import Box

RAW = """\
domains:
  vm0: {memory: 128, vcpu: 1, disks: [{template_name: mini}, {size: 4M, format: raw}], nics: [{net: lan}]}
nets: {lan: {}}
"""


@pytest.mark.slow
def test_the_header_of_an_image_on_a_raw_disk_stays_a_guests_bytes(box: Box) -> None:
    secret, header = box.place / "secret", box.place / "header"
    secret.write_bytes(b"s" * (4 << 20))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", header, "4M"], check=True)
    data = header.read_bytes()
    written = hashlib.sha256(data).hexdigest()

    def read() -> str:
        assert int(box.shell("vm0", "cat /sys/block/vdb/size")) == (4 << 20) // 512
        command = f"echo 3 >/proc/sys/vm/drop_caches; head -c {len(data)} /dev/vdb | sha256sum"
        return box.shell("vm0", command).split()[0]

    box.write(RAW)
    box.lago("init")
    box.lago("start")
    box.lago("copy-to-vm", "vm0", "header", "/root/header")
    box.shell("vm0", "dd if=/root/header of=/dev/vdb conv=notrunc 2>/dev/null; sync")
    assert read() == written
    box.lago("snapshot", "one")
    assert read() == written
    box.lago("revert", "one")
    assert read() == written
    box.lago("stop")
    box.lago("start")
    assert read() == written
    box.lago("fork", "other")
    assert read() == written


def _command_line(place: Path) -> list[str]:
    """How the QEMU of the environment in a directory was started."""
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_text(errors="replace").split("\0")
        except (OSError, UnicodeDecodeError):
            continue
        if "qemu-system" in words[0] and any(str(place) in word for word in words):
            return words
    return []


def test_an_initrd_that_metadata_names_is_never_given_to_qemu(box: Box, mini: Path) -> None:
    secret, images = box.place / "secret", box.place / "their-images"
    secret.write_text("the secret of this host")
    images.mkdir()
    kernel = sorted(mini.glob("lago:mini:*.kernel"))[0]
    shutil.copy(kernel, images / "image.kernel")
    (images / "image").symlink_to(str(kernel).removesuffix(".kernel"))
    (images / "image.metadata").write_text(json.dumps({"initrd": str(secret), "format": "qcow2", "distro": "theirs"}))
    dom = {
        "name": "theirs",
        "sources": {"s": {"type": "file", "args": {"root": str(images)}}},
        "templates": {
            "t": {
                "metadata": {"initrd": str(secret)},
                "versions": {"1": {"source": "s", "handle": "image", "timestamp": 1}},
            }
        },
    }
    box.write(json.dumps(dom), "repo.json")
    box.write("domains: {vm0: {memory: 128, vcpu: 1, disks: [{template_name: t}]}}\n")
    box.env["LAGO_TEMPLATE_STORE"] = str(box.place / "store")
    box.lago("init", "--skip-bootstrap", "--template-repo-path", str(box.place / "repo.json"))
    box.lago("start")
    words = _command_line(box.place)
    assert words[words.index("-kernel") + 1].endswith("/store/theirs:t:1.kernel")
    assert "-initrd" not in words
    assert not any(str(secret) in word for word in words)
