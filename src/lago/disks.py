"""Disk images. The only code that runs qemu-img."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from .errors import CommandError, DiskError, HostError
from .topology import Disk
from .utils import beside, run

_PACKED = ["-c", "-W", "-o", "compression_type=zstd"]
"""How `qemu-img convert` packs an image, with several threads."""


def create(disk: Disk, prefix: str) -> None:
    """Make the image of a disk of the environment in the directory `prefix`."""
    path = os.path.join(prefix, disk.path)
    if disk.template is not None:
        if disk.format != "qcow2":
            raise DiskError(
                f"the disk {disk.name} is made from the template {disk.template.id} and can only be qcow2",
                hint=f"leave out its format, {disk.format}",
            )
        if disk.size is not None and disk.size < (least := info(disk.template.path)["virtual-size"]):
            raise DiskError(
                f"the disk {disk.name} has {disk.size} bytes, fewer than its template {disk.template.id}: {least}",
                hint="a disk can grow but not shrink: write a larger size, or leave it out",
            )
        create_overlay(path, disk.template.path, disk.template.format, disk.size)
    elif disk.type == "file":
        if disk.source is not None and "://" in disk.source:
            download(disk, disk.source, path)
            return
        check_file(disk, disk.source or path)
        if disk.source is not None:
            copy(disk.source, path)
    elif disk.size is not None:
        create_empty(path, disk.size, disk.format)
    else:
        raise DiskError(f"the empty disk {disk.name} has no size")


def check_file(disk: Disk, path: str) -> None:
    """Raise DiskError unless the image at `path` is there and in the format of the disk."""
    if not os.path.exists(path):
        raise DiskError(f"the image {path} of the disk {disk.name} is not there", hint="correct its path")
    _check_format(disk, path, path)


def _check_format(disk: Disk, name: str, path: str) -> None:
    found = info(path)["format"]
    if found != ("raw" if disk.format == "iso" else disk.format):
        raise DiskError(
            f"the image {name} of the disk {disk.name} is {found}, not {disk.format}", hint=f"write format: {found}"
        )


def download(disk: Disk, url: str, path: str) -> None:
    """Fetch the image of a disk. Raises LagoError if it can't be had or is none of the disk's format."""
    from .fetch import fetch

    with _beside(path) as temporary:
        fetch(url, temporary)
        _check_format(disk, url, temporary)


def copy(source: str, path: str) -> None:
    """Copy an image as it is, but for its holes."""
    with _beside(path) as temporary:
        try:
            run(["cp", "--sparse=always", "--reflink=auto", "--", source, temporary])
        except CommandError as error:
            raise DiskError(f"cannot copy {source}", details=error.details) from None


def create_overlay(path: str, backing: str, backing_format: str, size: int | None = None) -> None:
    """Make a qcow2 image that holds the differences to `backing`.

    Args:
        size: in bytes, at least that of `backing`, which is the default.
    """
    if not os.path.isabs(backing):
        raise DiskError(f"the backing image {backing} has no absolute path")
    _create(path, "qcow2", ["-b", backing, "-F", backing_format], size)


def create_layer(path: str, backing: str, backing_format: str, size: int) -> None:
    """Make a qcow2 image of `size` bytes over `backing`, which may be relative to it and in use."""
    _create(path, "qcow2", ["-u", "-b", backing, "-F", backing_format], size)


def rebase(path: str, backing: str, backing_format: str) -> None:
    """Let a qcow2 image lie over `backing` and hold whatever it had from others before; relative paths are so to it."""
    _qemu_img(["rebase", "-q", "-f", "qcow2", "-b", backing, "-F", backing_format, path], f"cannot rebase {path}")


def create_empty(path: str, size: int, format: str = "qcow2") -> None:
    """Make an empty image of `size` bytes; it occupies next to nothing."""
    _create(path, format, [], size)


def convert(source: str, path: str, format: str, source_format: str | None = None) -> None:
    """Copy an image, with all that it lies over, into another format; that of `source` is found out if not said."""
    known = ["-f", source_format] if source_format else []
    with _beside(path) as temporary:
        _qemu_img(["convert", *known, "-O", format, source, temporary], f"cannot convert {source}")


def flatten(source: str, source_format: str, path: str, format: str, *, compress: bool = False) -> None:
    """Copy an image with all that it lies over into one that lies over nothing; zeros become holes."""
    with _beside(path) as temporary:
        # What a guest wrote on a raw disk may look like an image over any file of this host.
        argv = ["convert", *(_PACKED if compress else []), "-f", source_format, "-O", format, source, temporary]
        _qemu_img(argv, f"cannot copy the disk image {source}")


def flatten_onto(source: str, path: str, base: str, base_format: str, called: str, *, compress: bool = False) -> None:
    """Copy what an image, with all that it lies over, holds other than `base`, which it lies over in the end.

    Args:
        called: what the copy calls its base.
    """
    found, failure = info(source), f"cannot copy the disk image {source}"
    with _beside(path) as temporary:
        create_layer(temporary, os.path.abspath(source), found["format"], found["virtual-size"])
        rebase(temporary, base, base_format)
        if compress:
            with _beside(temporary) as packed:
                onto = ["-B", base, "-F", base_format, "-O", "qcow2"]
                _qemu_img(["convert", *_PACKED, *onto, temporary, packed], failure)
        _qemu_img(["rebase", "-q", "-u", "-f", "qcow2", "-b", called, "-F", base_format, temporary], failure)


def chain(path: str) -> list[str]:
    """The absolute paths of an image and of those that it lies over, the lowest last."""
    out = _qemu_img(["info", "--force-share", "--backing-chain", "--output=json", path], f"cannot read {path}")
    return [os.path.abspath(one["filename"]) for one in json.loads(out)]


def info(path: str) -> dict[str, Any]:
    """What qemu-img says about an image, with its members `format`, `virtual-size`, `backing-filename` and so on."""
    # An image of a running machine is locked; only reading its header does no harm.
    out = _qemu_img(["info", "--force-share", "--output=json", path], f"cannot read the disk image {path}")
    found: dict[str, Any] = json.loads(out)
    return found


def _create(path: str, format: str, options: Sequence[str], size: int | None) -> None:
    with _beside(path) as temporary:
        argv = ["create", "-q", "-f", format, *options, temporary, *([str(size)] if size is not None else [])]
        _qemu_img(argv, f"cannot create the disk image {path}")


@contextlib.contextmanager
def _beside(path: str) -> Iterator[str]:
    """A temporary name in the same directory, which becomes `path` if all goes well."""
    temporary = beside(path)
    try:
        yield temporary
        os.chmod(temporary, 0o644)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _qemu_img(arguments: Sequence[str], failure: str) -> bytes:
    try:
        return run(["qemu-img", *arguments]).out
    except CommandError as error:
        details = error.details.removeprefix("qemu-img: ")
        if "No space left" in details:
            hint = "free some space, or make the environment on another file system"
            raise HostError(f"{failure}: no space left on the device", details=details, hint=hint) from None
        raise DiskError(failure, details=details) from None
