"""Disk images by which strangers would have files of this host read or written, made by the real qemu-img."""

from __future__ import annotations

import os
import struct
import subprocess
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
