"""Disk images by which strangers would have files of this host read or written, made by the real qemu-img."""

from __future__ import annotations

import os
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

SECRET: Final = b"the secret of this host" * 3000
"""What is in the file that hostile images are after."""


def qemu_img(*words: str | Path, cwd: Path | None = None) -> None:
    """Run qemu-img."""
    subprocess.run(["qemu-img", *words], check=True, stdout=subprocess.DEVNULL, cwd=cwd)


def overlay(path: Path, backing: str, *format: str) -> None:
    """Make a qcow2 image over another that need not be there."""
    if format:
        qemu_img("create", "-q", "-u", "-f", "qcow2", "-b", backing, "-F", *format, path, "1M")
        return
    qemu_img("create", "-q", "-f", "qcow2", path, "1M")
    head = bytearray(path.read_bytes())
    at = 0x2000
    struct.pack_into(">QI", head, 8, at, len(backing))
    head[at : at + len(backing)] = backing.encode()
    path.write_bytes(head)


def _data_file(path: Path, name: str) -> None:
    """A qcow2 image whose data is in the file of that name."""
    theirs = os.fsencode(name)[:200]
    other = path.parent / ("d" * len(theirs))
    options = f"data_file={other.name},data_file_raw=on"
    qemu_img("create", "-q", "-f", "qcow2", "-o", options, path, "64k", cwd=path.parent)
    data = path.read_bytes().replace(other.name.encode(), theirs)
    other.unlink()
    path.write_bytes(data)


def descriptor(secret: Path, before: str = "# Disk DescriptorFile\n", more: str = "") -> str:
    """A VMDK that is text and has a file as its data."""
    return (
        f'{before}version=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\n{more}'
        f'RW 128 FLAT "{secret}" 0\nddb.adapterType="ide"\nddb.geometry.cylinders="1"\n'
        'ddb.geometry.heads="16"\nddb.geometry.sectors="63"\n'
    )


def _vmdk_without_capacity(path: Path, secret: Path) -> None:
    head = bytearray(512 * 4)
    struct.pack_into("<4sIIQQQQ", head, 0, b"KDMV", 1, 3, 0, 128, 1, 3)
    text = descriptor(secret).encode()
    head[512 : 512 + len(text)] = text
    path.write_bytes(head)


def _vmdk_with_parent(path: Path, secret: Path) -> None:
    qemu_img("create", "-q", "-f", "vmdk", path, "1M")
    data = path.read_bytes()
    hint = f'parentFileNameHint="{secret}"\n'.encode()
    at = data.index(b"# Extent description")
    data = data[:at] + hint + data[at:][: -len(hint)]
    path.write_bytes(data.replace(b"parentCID=ffffffff", b"parentCID=12345678"))


def _encrypted(path: Path) -> None:
    options = "encrypt.format=aes,encrypt.key-secret=s"
    qemu_img("create", "-q", "--object", "secret,id=s,data=0", "-f", "qcow2", "-o", options, path, "1M")


def _patched(path: Path, *changes: tuple[int, bytes]) -> None:
    qemu_img("create", "-q", "-f", "qcow2", path, "1M")
    head = bytearray(path.read_bytes())
    for at, new in changes:
        head[at : at + len(new)] = new
    path.write_bytes(head)


def _differences(path: Path) -> None:
    qemu_img("create", "-q", "-f", "vpc", path, "1M")
    data = bytearray(path.read_bytes())
    for footer in (0, len(data) - 512):
        data[footer + 60 : footer + 64] = (4).to_bytes(4, "big")
    path.write_bytes(data)


IMAGES: Final[dict[str, Callable[[Path, Path], None]]] = {
    "an overlay of a file": lambda path, secret: overlay(path, str(secret), "raw"),
    "an overlay of a file, of no format": lambda path, secret: overlay(path, str(secret)),
    "an overlay of a relative file": lambda path, secret: overlay(path, f"../../{secret.name}", "raw"),
    "an overlay by JSON": lambda path, secret: overlay(
        path, f'json:{{"driver":"raw","file":{{"driver":"file","filename":"{secret}"}}}}'
    ),
    "an overlay of a server": lambda path, _secret: overlay(path, "nbd://127.0.0.1:9/x", "raw"),
    "an overlay of a device": lambda path, _secret: overlay(path, "/dev/zero", "raw"),
    "an overlay with a name outside": lambda path, _secret: _patched(path, (8, struct.pack(">QI", 1 << 40, 20))),
    "a data file": lambda path, secret: _data_file(path, str(secret)),
    "a data file by JSON": lambda path, _secret: _data_file(path, 'json:{"driver":"file","filename":"/etc/hosts"}'),
    "a data file without a name": lambda path, _secret: _patched(path, (72, (4).to_bytes(8, "big"))),
    "a descriptor": lambda path, secret: _write(path, descriptor(secret)),
    "a descriptor after comments": lambda path, secret: _write(path, descriptor(secret, "# a\n\n  # b\n")),
    "a descriptor in a VMDK": _vmdk_without_capacity,
    "a VMDK over a file": _vmdk_with_parent,
    "an old VMDK": lambda path, _secret: _write(path, "COWD".ljust(4096, "\0")),
    "encrypted": lambda path, _secret: _encrypted(path),
    "LUKS": lambda path, _secret: _write(path, b"LUKS\xba\xbe\0\1" + bytes(1 << 20)),
    "17 TiB": lambda path, _secret: qemu_img("create", "-q", "-f", "qcow2", path, "17T"),
    "cut off": lambda path, _secret: _write(path, b"QFI\xfb\0\0\0\3damaged"),
    "unknown features": lambda path, _secret: _patched(path, (72, (1 << 40).to_bytes(8, "big"))),
    "the format of long ago": lambda path, _secret: qemu_img("create", "-q", "-f", "qcow", path, "1M"),
    "QED": lambda path, _secret: qemu_img("create", "-q", "-f", "qed", path, "1M"),
    "a VHD of differences": lambda path, _secret: _differences(path),
}
"""By what it is: makes it at a path, of or about a secret file."""


def _write(path: Path, data: str | bytes) -> None:
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def bomb(path: Path, content: bytes) -> None:
    """Write a qcow2 image of half a MiB and 1 TiB, each of whose clusters is the same packed one."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -12)
    packed = packer.compress((content * (1 << 16))[: 1 << 16]) + packer.flush()
    l1, l2, data, counts = 0x10000, 0x20000, 0x30000, 0x40000
    entry = (1 << 62) | ((len(packed) // 512) << 54) | data
    head = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, 16, 1 << 40, 0, 2048, l1, counts, 1, 0, 0)
    with path.open("wb") as file:
        for place, part in (
            (0, head),
            (l1, struct.pack(">Q", l2) * 2048),
            (l2, struct.pack(">Q", entry) * 8192),
            (data, packed),
            (counts, bytes(1 << 16)),
        ):
            file.seek(place)
            file.write(part)


def huge_map(path: Path) -> None:
    """Write a VDI image, most of it a hole, that asks for 2 GiB of memory to be opened."""
    blocks = 0x1FFFFF80
    head = bytearray(512)
    head[:40] = b"<<< Oracle VM VirtualBox Disk Image >>>\n"
    struct.pack_into("<IIIII", head, 64, 0xBEDA107F, 0x00010001, 0x190, 1, 0)
    data = (512 + blocks * 4 + 511) // 512 * 512
    struct.pack_into("<II", head, 340, 512, data)
    struct.pack_into("<I", head, 360, 512)
    struct.pack_into("<QIIII", head, 368, blocks << 20, 1 << 20, 0, blocks, 0)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(data + (1 << 20))
