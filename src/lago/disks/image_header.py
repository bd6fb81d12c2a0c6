"""How disk images begin: the format of a file, and whether it says that a part of the image is in other files.

Read here, as programs that open an image may open what it names before they can be asked about it. Layouts are those
of QEMU's docs/interop/qcow2.txt, VMware's Virtual Disk Format 5.0, Microsoft's VHD and [MS-VHDX], and of superblocks.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from typing import IO, Final

_HEAD: Final = 1 << 17
"""Bytes that tell all."""

_MAGIC: Final = (
    (0, b"QFI\xfb\x00\x00\x00\x01", "qcow"),
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "vmdk"),
    (0, b"COWD", "vmdk"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"conectix", "vpc"),
    (0, b"QED\0", "qed"),
    (0, b"LUKS\xba\xbe", "luks"),
    (0, b"WithoutFreeSpace", "parallels"),
    (0, b"WithouFreSpacExt", "parallels"),
    (0, b"Bochs Virtual HD Image", "bochs"),
    (64, b"\x7f\x10\xda\xbe", "vdi"),
)
_DESCRIPTOR: Final = re.compile(rb"(?:[ \t]*(?:#[^\n]*)?\r?\n)*version=[0-9]", re.IGNORECASE)
"""A VMDK that is text; its data is in other files."""

_ARCHIVE: Final = (257, b"ustar")
_VHD_FOOTER: Final = 512
_SECTOR: Final = 512

_QCOW2_SHORT: Final = 72
_QCOW2_DATA_FILE: Final = 1 << 2
_QCOW2_BACKING_FORMAT: Final = 0xE2792ACA
_QCOW2_DATA_FILE_NAME: Final = 0x44415441
_VHD_DIFFERENCES: Final = 4

_ON_DISKS: Final = (
    (510, b"\x55\xaa"),  # a boot sector: partitions, FAT, NTFS
    (512, b"EFI PART"),
    (4096, b"EFI PART"),
    (1080, b"\x53\xef"),  # ext2 to ext4
    (0, b"XFSB"),
    (0x10040, b"_BHRfS_M"),  # btrfs
    (4086, b"SWAPSPACE2"),
    (32769, b"CD001"),  # ISO 9660
    (0, b"hsqs"),  # squashfs
    (1024, b"\x10\x20\xf5\xf2"),  # F2FS
    (1024, b"\xe2\xe1\xf5\xe0"),  # EROFS
    *((sector * 512, b"LABELONE") for sector in range(4)),  # LVM
    *((place, b"\xfc\x4e\x2b\xa9") for place in (0, 4096)),  # Linux RAID
)


@dataclass(frozen=True, slots=True)
class Header:
    """What an image says at its beginning.

    Attributes:
        format: what qemu-img calls it; `raw` for what has no format.
        backing: the name of the image that it lies over, as it stands there.
        backing_format: the format of that, if it is recorded.
        refusal: why the image can't be had from this file and what it lies over alone, in words; or empty.
        size: bytes of the disk that it holds, of a raw or a qcow2 image.
    """

    format: str
    backing: str | None = None
    backing_format: str | None = None
    refusal: str = ""
    size: int = 0


def read(path: str, format: str | None = None) -> Header:
    """Read how an image begins.

    Args:
        format: that of the image, if it is known; a guest may have written another's header on a raw disk.

    Raises:
        OSError: the file can't be read.
        ValueError: it is damaged.
    """
    with open(path, "rb") as file:
        head = file.read(_HEAD)
        format = format or _format(head)
        if format == "qcow2":
            return _qcow2(head)
        if format == "vmdk":
            return Header(format, refusal=_vmdk_refusal(head))
        if format == "vpc":
            return Header(format, refusal=_vhd_refusal(_vhd_footer(file)))
        # Also of a device, which has no size of a file. QEMU counts in sectors.
        return Header(format, size=-(-file.seek(0, os.SEEK_END) // _SECTOR) * _SECTOR)


def is_archive(path: str) -> bool:
    """Whether a file is a tar archive, as appliances are. Raises OSError."""
    begin, magic = _ARCHIVE
    with open(path, "rb") as file:
        return file.read(begin + len(magic)).endswith(magic)


def is_vhd(path: str) -> bool:
    """Whether a file ends as a VHD of fixed size, which begins like a raw disk. Raises OSError."""
    with open(path, "rb") as file:
        return _vhd_footer(file).startswith(b"conectix")


def looks_like_disk(path: str) -> bool:
    """Whether a raw image has a partition table, a boot sector, a file system, LVM, RAID or swap. Raises OSError."""
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    return any(head.startswith(magic, place) for place, magic in _ON_DISKS)


def _format(head: bytes) -> str:
    for place, magic, format in _MAGIC:
        if head.startswith(magic, place):
            return format
    return "vmdk" if _DESCRIPTOR.match(head) else "raw"


def _qcow2(head: bytes) -> Header:
    try:
        version, backing_at, backing_size, cluster_bits = struct.unpack_from(">IQII", head, 4)
        size, crypt_method = struct.unpack_from(">QI", head, 24)
        features, length = 0, _QCOW2_SHORT
        if version >= 3:
            (features,) = struct.unpack_from(">Q", head, 72)
            (length,) = struct.unpack_from(">I", head, 100)
    except struct.error:
        raise ValueError("its header is cut off") from None
    if backing_at and backing_at + backing_size > len(head):
        raise ValueError("the name of its backing file is outside of its header")
    notes = _extensions(head, length, backing_at or min(1 << min(cluster_bits, 32), len(head)))
    refusal = ""
    if features & _QCOW2_DATA_FILE or _QCOW2_DATA_FILE_NAME in notes:
        name = notes.get(_QCOW2_DATA_FILE_NAME, b"").decode(errors="replace")
        refusal = f"has its data in another file{f', {name!r}' if name else ''}"
    elif crypt_method:
        refusal = "is encrypted"
    return Header(
        "qcow2",
        backing=head[backing_at : backing_at + backing_size].decode(errors="surrogateescape") if backing_at else None,
        backing_format=notes.get(_QCOW2_BACKING_FORMAT, b"").decode(errors="replace") or None,
        refusal=refusal,
        size=size,
    )


def _extensions(head: bytes, place: int, end: int) -> dict[int, bytes]:
    """The header extensions of a qcow2 image, by type."""
    found: dict[int, bytes] = {}
    while place + 8 <= min(end, len(head)):
        kind, length = struct.unpack_from(">II", head, place)
        if not kind:
            break
        found[kind] = head[place + 8 : place + 8 + length]
        place += 8 + (length + 7) // 8 * 8
    return found


def _vmdk_refusal(head: bytes) -> str:
    if not head.startswith(b"KDMV"):
        return "has its data in other files"
    # Without a capacity QEMU takes what the header leads to for text that names other files.
    return "" if any(head[12:20]) else "has its data in other files"


def _vhd_footer(file: IO[bytes]) -> bytes:
    file.seek(max(0, file.seek(0, os.SEEK_END) - _VHD_FOOTER))
    return file.read(_VHD_FOOTER)


def _vhd_refusal(footer: bytes) -> str:
    if len(footer) < _VHD_FOOTER or not footer.startswith(b"conectix"):
        raise ValueError("it does not end as a VHD does")
    (kind,) = struct.unpack_from(">I", footer, 60)
    return "holds only differences to another image" if kind == _VHD_DIFFERENCES else ""
