"""Disk images. The only code that runs qemu-img, confined, and always told the format of an image.

Left to itself qemu-img guesses it from the first bytes, and a guest that writes the header of a qcow2 image on its raw
disk would make any file of this host its backing file. So the format of what comes from elsewhere is found out once, by
`accept`, and is known from then on.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, Final

from ..errors import CommandError, DiskError, HostError
from ..host import shape
from ..host.confined import Limits, run_confined
from ..host.files import replacing
from ..host.full import says_full
from ..host.programs import run
from ..topology.model import Disk
from . import image_header

FORMATS: Final = ("raw", "qcow2")
"""Those that disks have."""

_LARGEST: Final = 16 << 40
"""Bytes of the largest disk that is taken from elsewhere."""

_MEMORY: Final = 2 << 30
"""Bytes of the address space of a qemu-img, of which its threads want most."""

_LOOKING: Final = 30
"""Seconds of a processor to read the header of an image."""

_WORKING: Final = 300
"""Seconds of a processor for an image, and for each MiB of the files that it is in one more."""

_RESERVE: Final = 1 << 30
"""Bytes of room that an image leaves to others, or the twentieth part of what is free, if that is less."""

_PACKED: Final = ["-c", "-W", "-o", "compression_type=zstd"]
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
        if disk.size is not None and disk.size < (least := size_of(disk.template.path, disk.template.format)):
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
    found = seen_format(path)
    if found != disk.image_format:
        hint = f"write format: {found}" if found in FORMATS else _CONVERT.format(found)
        raise DiskError(f"the image {name} of the disk {disk.name} is {found}, not {disk.format}", hint=hint)


_CONVERT: Final = "qemu-img convert -f {} -O qcow2 makes an image of it that can be used"


def download(disk: Disk, url: str, path: str) -> None:
    """Fetch the image of a disk. Raises LagoError if it can't be had, or is none that `accept` takes."""
    from ..host.fetch import fetch

    with _replacing(path) as temporary:
        fetch(url, temporary)
        _check_format(disk, url, temporary)
        accept(temporary, f"the image {url} of the disk {disk.name}", formats=(disk.image_format,))


def accept(
    path: str, name: str, *, formats: Sequence[str] = FORMATS, format: str | None = None, over_others: bool = False
) -> str:
    """Return the format of an image from elsewhere, once it is certain that the image is this file and no other.

    A backing file, a file with its data, or the files that a VMDK consists of, might be any of this host.

    Args:
        name: what messages call it.
        formats: those that it may have.
        format: its own, if it can't be seen from how it begins.
        over_others: let it have a backing file, which the caller accepts or refuses.

    Raises:
        DiskError: it has another format, is in other files besides, encrypted, damaged, or larger than any honest one.
    """
    header = _header(path, format, name)
    format = header.format
    if format not in formats:
        raise DiskError(f"{name} is {format}, not {' or '.join(formats)}", hint=_CONVERT.format(format))
    if header.backing is not None and not over_others:
        raise DiskError(
            f"{name} is in other files besides: it is an overlay of {_printable(header.backing)}", hint=_WHOLE
        )
    if header.refusal:
        raise DiskError(f"{name} {header.refusal}", hint=_WHOLE)
    if format == "raw":
        return format
    try:
        found = info(path, format)
    except DiskError as error:
        raise DiskError(f"{name} is damaged", details=error.details, hint="get it again") from None
    data = found.get("format-specific", {}).get("data", {})
    others = [one for one in data.get("extents", []) if one.get("filename") != path]
    if ("backing-filename" in found and not over_others) or "data-file" in data or others:
        raise DiskError(f"{name} is in other files besides", hint=_WHOLE)
    if found.get("encrypted"):
        raise DiskError(f"{name} is encrypted", hint=_WHOLE)
    if found["virtual-size"] > _LARGEST:
        raise DiskError(
            f"{name} has {found['virtual-size'] >> 40} TiB, more than {_LARGEST >> 40}", hint="use a smaller image"
        )
    return format


def seen_format(path: str) -> str:
    """The format of an image from elsewhere by how it begins, `raw` if it has none. Raises DiskError."""
    return _header(path).format


_WHOLE: Final = "where it was made, qemu-img convert makes an image of it that needs no other file"


def _printable(name: str) -> str:
    return name if name.isprintable() else repr(name)


def copy(source: str, path: str) -> None:
    """Copy an image as it is, but for its holes."""
    with _replacing(path) as temporary:
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
    try:
        least = size_of(backing, backing_format)
    except DiskError as error:
        raise DiskError(f"cannot create the disk image {path}", details=error.details or error.what) from None
    create_layer(path, backing, backing_format, size or least)


def create_layer(path: str, backing: str, backing_format: str, size: int) -> None:
    """Make a qcow2 image of `size` bytes over `backing`, which may be relative to it and in use."""
    _create(path, "qcow2", ["-u", "-b", backing, "-F", backing_format], size)


def rebase(path: str, backing: str, backing_format: str) -> None:
    """Rewrite a qcow2 image to lie over `backing`, and to hold whatever it had from others before.

    A relative path of `backing` begins where the image is.
    """
    words = ["-q", "-b", backing, "-F", backing_format, path]
    below = chain(os.path.join(os.path.dirname(path), backing), backing_format)
    _work("rebase", "qcow2", words, f"cannot rebase {path}", reads=[*chain(path, "qcow2"), *below], target=path)


def lay_over(path: str, backing: str, backing_format: str) -> None:
    """Let a qcow2 image lie over `backing`, and keep what it holds itself; what it lay over before is not opened.

    A relative path of `backing` begins where the image is.
    """
    words = ["-q", "-u", "-b", backing, "-F", backing_format, path]
    _work("rebase", "qcow2", words, f"cannot rebase {path}", reads=(), target=path)


def create_empty(path: str, size: int, format: str = "qcow2") -> None:
    """Make an empty image of `size` bytes; it occupies next to nothing."""
    _create(path, format, [], size)


def convert(source: str, source_format: str, path: str, format: str, *, compress: bool = False) -> None:
    """Copy an image with all that it lies over into one that lies over nothing; zeros become holes."""
    with _replacing(path) as temporary:
        words = [*(_PACKED if compress else []), "-O", format, source, temporary]
        reads = [*chain(source, source_format)]
        _work("convert", source_format, words, f"cannot copy {source}", reads=reads, target=temporary)


def convert_onto(source: str, path: str, base: str, base_format: str, called: str, *, compress: bool = False) -> None:
    """Copy what a qcow2 image, with all that it lies over, holds other than `base`, which it lies over in the end.

    Args:
        called: what the copy calls its base.
    """
    failure = f"cannot copy {source}"
    with _replacing(path) as temporary:
        create_layer(temporary, os.path.abspath(source), "qcow2", size_of(source, "qcow2"))
        rebase(temporary, base, base_format)
        if compress:
            with _replacing(temporary) as packed:
                onto = ["-B", base, "-F", base_format, "-O", "qcow2"]
                words, reads = [*_PACKED, *onto, temporary, packed], [*chain(temporary, "qcow2")]
                _work("convert", "qcow2", words, failure, reads=reads, target=packed)
        words = ["-q", "-u", "-b", called, "-F", base_format, temporary]
        _work("rebase", "qcow2", words, failure, reads=(), target=temporary)


def chain(path: str, format: str) -> Iterator[str]:
    """The absolute paths of an image and of those that it lies over, the lowest last.

    One whose format is not recorded in the one above is the last. Raises DiskError if one can't be read.
    """
    seen: list[str] = []
    known: str | None = format
    while True:
        path = os.path.abspath(path)
        if path in seen:
            raise DiskError(f"the image {path} lies over itself", hint=f"qemu-img info -U {path} shows it")
        seen.append(path)
        yield path
        header = _header(path, known) if known else None
        if header is None or header.backing is None:
            return
        path, known = os.path.join(os.path.dirname(path), header.backing), header.backing_format


def below(path: str) -> tuple[str, str | None] | None:
    """The name and the recorded format of the image that a qcow2 image lies over, as it has them. Raises DiskError."""
    header = _header(path, "qcow2")
    return None if header.backing is None else (header.backing, header.backing_format)


def _header(path: str, format: str | None = None, called: str = "") -> image_header.Header:
    name = called or f"the disk image {path}"
    try:
        return image_header.read(path, format)
    except OSError as error:
        raise DiskError(f"cannot read {name}", details=error.strerror or "") from None
    except ValueError as error:
        raise DiskError(f"{name} is damaged", details=str(error), hint="get it again") from None


def size_of(path: str, format: str) -> int:
    """Bytes of the disk that an image holds."""
    if format not in FORMATS:
        size: int = info(path, format)["virtual-size"]
        return size
    return _header(path, format).size


def info(path: str, format: str) -> dict[str, Any]:
    """What qemu-img says about an image of a format: `virtual-size`, `backing-filename` and so on."""
    # An image of a running machine is locked; only reading its header does no harm.
    words = ["--force-share", "--output=json", path]
    limits = Limits(memory=_MEMORY, seconds=_LOOKING)
    said = _qemu_img("info", format, words, f"cannot read the disk image {path}", reads=[path], limits=limits)
    try:
        found: dict[str, Any] = shape.parse(said.decode(errors="replace"))
    except ValueError as error:
        raise DiskError(f"cannot read the disk image {path}", details=str(error)) from None
    return found


def _create(path: str, format: str, options: Sequence[str], size: int) -> None:
    with _replacing(path) as temporary:
        words = ["-q", *options, temporary, str(size)]
        _qemu_img("create", format, words, f"cannot create the disk image {path}")


@contextlib.contextmanager
def _replacing(path: str) -> Iterator[str]:
    """Context manager: a temporary name in the same directory; the image there becomes `path` if all goes well."""
    with replacing(path) as temporary:
        yield temporary
        os.chmod(temporary, 0o644)


def _work(
    command: str, format: str, arguments: Sequence[str], failure: str, *, reads: Sequence[str], target: str
) -> None:
    """Have qemu-img write to the image `target`, out of those that it reads."""
    directory, ours = os.path.split(os.path.abspath(target))
    read = [path for path in reads if os.path.abspath(path) != os.path.join(directory, ours)]
    known = [os.stat(path) for path in {*read, target} if os.path.exists(path)]
    largest = None
    # One that is raw has holes, and may be larger than what it takes.
    if command != "convert" or arguments[arguments.index("-O") + 1] != "raw":
        with _told(failure):
            largest = _room(directory) + (os.path.getsize(target) if os.path.exists(target) else 0)
    seconds = _WORKING + (sum(one.st_blocks for one in known) >> 11)
    limits = Limits(memory=_MEMORY, seconds=seconds, largest=largest)
    _qemu_img(command, format, arguments, failure, reads=read, writes=[directory], limits=limits)


def _room(directory: str) -> int:
    """Bytes that an image may take of what is free. Raises OSError."""
    found = os.statvfs(directory)
    free = found.f_bavail * found.f_frsize
    return free - min(_RESERVE, free // 20)


def _qemu_img(
    command: str,
    format: str,
    arguments: Sequence[str],
    failure: str,
    *,
    reads: Sequence[str] = (),
    writes: Sequence[str] = (),
    limits: Limits | None = None,
) -> bytes:
    argv = ["qemu-img", command, "-f", format, *arguments]
    with _told(failure):
        # Where nothing is read there is nobody whose words could do harm.
        return run_confined(argv, reads=reads, writes=writes, limits=limits).out if limits else run(argv).out


@contextlib.contextmanager
def _told(failure: str) -> Iterator[None]:
    """Context manager: what a qemu-img or the system says becomes an error of `failure`."""
    try:
        yield
    except OSError as error:
        raise DiskError(failure, details=error.strerror or "") from None
    except CommandError as error:
        details = error.details.removeprefix("qemu-img: ")
        if says_full(details) or _TOO_LARGE in details:
            hint = "free some space, or make the environment on another file system"
            raise HostError(f"{failure}: no space left on the device", details=details, hint=hint) from None
        raise DiskError(failure, details=details, hint=_HOSTILE if error.code in _ENDED else "") from None


_TOO_LARGE: Final = "File too large"
_ENDED: Final = (128 + 9, 128 + 6, 128 + 5, 128 + 11)
"""By the limit of time; by an abort, a trap of GLib's or a fault, for want of memory."""

_HOSTILE: Final = "it asks for more than an honest image does: get another one"
