"""What both templates boot with: Debian's cloud kernel, its modules, and a small initrd.

The kernel is kept uncompressed: QEMU loads such a one directly, which saves an emulated guest half a second of
unpacking and relocating itself. UEFI firmware wants it as it was packaged, so it is kept that way too.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable
from signal import SIGKILL

from ...errors import TemplateError
from ...host.programs import run
from .apt import Apt
from .tree import Tree

META_PACKAGE = "linux-image-cloud-amd64"
TOOLS = ("busybox-static", "libc6", "kmod", "liblzma5", "libssl3", "libzstd1", "lz4", "liblz4-1", "libxxhash0")
"""Programs used while building, from the same release, so that the result does not depend on the host's versions."""

INITRD_MODULES = (
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci",
    "drivers/block/virtio_blk",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
)
"""Loaded by the initrd in this order; ext4 is built in."""


def package(apt: Apt) -> str:
    """Name of the package with the current kernel."""
    names = [name for name in apt.depends(META_PACKAGE) if name.startswith("linux-image-")]
    if len(names) != 1:
        raise TemplateError(f"{META_PACKAGE} depends on {names}, where one kernel is expected")
    return names[0]


class Kernel:
    """A kernel unpacked from its package into the directory `work`; `files` are downloaded packages by name."""

    def __init__(self, work: str, files: dict[str, str], kernel_package: str) -> None:
        self._root = os.path.join(work, "kernel")
        self._tools = os.path.join(work, "tools")
        self.version = kernel_package.removeprefix("linux-image-")
        run(["dpkg-deb", "-x", files[kernel_package], self._root], dies_with_us=SIGKILL)
        for tool in TOOLS:
            run(["dpkg-deb", "-x", files[tool], self._tools], dies_with_us=SIGKILL)
        self._modules = os.path.join(self._root, "lib", "modules", self.version)
        self.busybox = os.path.join(self._tools, "bin", "busybox")
        self._tool("/bin/kmod", "-b", self._root, self.version, argv0="depmod")

    def add_modules(self, tree: Tree) -> None:
        """Put all modules and their indices into a tree."""
        for directory, _, names in os.walk(self._modules):
            for name in names:
                path = os.path.join(directory, name)
                if os.path.islink(path):
                    continue
                with open(path, "rb") as file:
                    tree.file(f"usr/{os.path.relpath(path, self._root)}", file.read())

    def signed(self) -> bytes:
        """The kernel as it is in the package: packed, signed, and a program for UEFI firmware too."""
        with open(os.path.join(self._root, "boot", f"vmlinuz-{self.version}"), "rb") as file:
            return file.read()

    def image(self) -> bytes:
        """The uncompressed kernel, an ELF file."""
        payload = boot_payload(self.signed())
        packed = os.path.join(self._root, "payload.lz4")
        with open(packed, "wb") as file:
            file.write(payload)
        plain = os.path.join(self._root, "vmlinux")
        self._tool("/usr/bin/lz4", "-d", "-f", "-q", packed, plain)
        with open(plain, "rb") as file:
            return file.read()

    def initrd(self, init: bytes) -> bytes:
        """The initrd: busybox, the modules that lead to the root disk and to the network, and `init`."""
        entries: list[tuple[str, int, bytes]] = [(name, stat.S_IFDIR | 0o755, b"") for name in _DIRECTORIES]
        with open(self.busybox, "rb") as file:
            entries.append(("busybox", stat.S_IFREG | 0o755, file.read()))
        entries.append(("init", stat.S_IFREG | 0o755, init))
        names = [path.rpartition("/")[2] for path in INITRD_MODULES]
        for path, name in zip(INITRD_MODULES, names, strict=True):
            with open(os.path.join(self._modules, "kernel", f"{path}.ko"), "rb") as file:
                entries.append((f"lib/{name}.ko", stat.S_IFREG | 0o644, file.read()))
        entries.append(("modules", stat.S_IFREG | 0o644, "".join(f"{name}\n" for name in names).encode()))
        return cpio(entries)

    def _tool(self, program: str, *arguments: str, argv0: str = "") -> None:
        libraries = ":".join(f"{self._tools}{usr}/lib/x86_64-linux-gnu" for usr in ("", "/usr"))
        loader = [f"{self._tools}/lib64/ld-linux-x86-64.so.2", "--library-path", libraries]
        run([*loader, *(["--argv0", argv0] if argv0 else []), self._tools + program, *arguments], dies_with_us=SIGKILL)


_DIRECTORIES = ("dev", "lib", "proc", "root")
_LZ4_LEGACY = b"\x02\x21\x4c\x18"


def boot_payload(bzimage: bytes) -> bytes:
    """The lz4-packed kernel proper inside a bzImage, found by its setup header.

    Raises:
        TemplateError: this is not a bzImage, or packed in another way.
    """
    if bzimage[0x202:0x206] != b"HdrS":
        raise TemplateError("the kernel in the package is not a bzImage")
    offset, length = struct.unpack_from("<II", bzimage, 0x248)
    start = (bzimage[0x1F1] + 1) * 512 + offset
    # Its last four bytes are the unpacked size.
    payload = bzimage[start : start + length - 4]
    if not payload.startswith(_LZ4_LEGACY):
        raise TemplateError("the kernel in the package is not packed with lz4")
    return payload


def cpio(entries: Iterable[tuple[str, int, bytes]]) -> bytes:
    """A cpio archive in the `newc` format, all owned by root, from names, modes and contents."""
    parts = []
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        links = 2 if stat.S_ISDIR(mode) else 1
        fields = (number, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        parts += [_padded(header), _padded(data)]
    return b"".join(parts)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
