"""Images that were made or taken into the store on this host: the templates of the repository `local`."""

from __future__ import annotations

import os
import stat
from typing import Any, Final

from ..disks import image_header, ova, qemu_img
from ..errors import DiskError, TemplateError
from ..host.files import sha256
from ..log import task
from .providers import FileSystemTemplateProvider
from .repository import TemplateRepository, TemplateVersion
from .store import TemplateStore

LOCAL: Final = "local"

IMPORTED: Final = ("qcow2", "raw", "vmdk", "vdi", "vhdx", "vpc")
"""The formats that are taken, as qemu-img calls them; besides, an OVA."""

_TAKEN: Final = (
    "taken are qcow2, VMDK, VDI, VHDX, VHD, OVA and raw disks, also packed by xz, zstandard, gzip or bzip2; "
    "--format raw takes any file as a raw disk"
)


def local_repository(store: TemplateStore) -> TemplateRepository:
    """The repository of these images; their timestamp is when they came."""
    templates: dict[str, Any] = {}
    for identity in store.list():
        repository, name, version = identity.split(":")
        if repository == LOCAL:
            versions = templates.setdefault(name, {"versions": {}})["versions"]
            versions[version] = {"source": "store", "handle": identity, "timestamp": store.since(identity)}
    sources = {"store": {"type": "file", "args": {"root": store.path}}}
    return TemplateRepository({"name": LOCAL, "sources": sources, "templates": templates}, store.path)


class _ImportedFile(FileSystemTemplateProvider):
    """Images of a directory in whatever format, which become such as disks can have.

    Args:
        format: what they are, if it is not to be seen from how they begin.
    """

    def __init__(self, root: str, format: str | None) -> None:
        super().__init__(root)
        self._format = format
        self._made: str | None = None

    def download_image(self, handle: str, dest: str) -> str:
        """Copy the image to `dest`, unpacked and in a format that disks can have."""
        digest = super().download_image(handle, dest)
        source = self._path(handle)
        try:
            return sha256(dest) if self._convert(source, dest) else digest
        except DiskError as error:
            raise TemplateError(error.what, details=error.details, hint=error.hint) from None

    def get_metadata(self, handle: str) -> dict[str, Any]:
        """Read the JSON in `<handle>.metadata`, with the format that the image has now."""
        return {**super().get_metadata(handle), **({"format": self._made} if self._made else {})}

    def _convert(self, source: str, image: str) -> bool:
        """Make an image that disks can have, in its place; whether it was another before."""
        seen, disk = qemu_img.seen_format(image), image_header.looks_like_disk(image)
        packed = f"{image}.packed"
        if self._format is None and image_header.is_archive(image) and not disk:
            os.rename(image, packed)
            with task(f"Convert {source}"):
                ova.unpack(packed, image, source)
        else:
            if self._format in (None, "vpc") and seen == "raw" and image_header.is_vhd(image):
                seen = "vpc"
            if seen not in IMPORTED or (seen == "raw" and not disk and self._format is None):
                raise TemplateError(f"{source} is no disk image that is known", hint=_TAKEN)
            if self._format not in (None, seen):
                raise TemplateError(f"{source} is {seen}, not {self._format}", hint="leave out its format")
            qemu_img.accept(image, f"the image {source}", formats=IMPORTED, format=seen)
            if seen in qemu_img.FORMATS:
                return False
            os.rename(image, packed)
            with task(f"Convert {source}"):
                qemu_img.convert(packed, seen, image, "qcow2")
        os.unlink(packed)
        self._made = "qcow2"
        return True


def import_image(store: TemplateStore, path: str, name: str, version: str, format: str | None = None) -> str:
    """Take an image into the store, unpacked; what lies beside it as in a repository is taken too.

    One of another format than disks have becomes a qcow2 image. A raw one must have something on it that disks have.

    Args:
        path: of the image.
        name: of the template.
        version: of the template.
        format: what the image is; `raw` takes whatever is in the file as a disk.

    Returns:
        Its identity.

    Raises:
        TemplateError: it is no image or is not all of one, the name can't be one, or is taken.
    """
    if any(not word or set(word) & set(":/") or word.startswith(".") for word in (name, version)):
        raise TemplateError(f"{name}:{version} can't be the name of an image", hint="leave out colons and slashes")
    identity = f"{LOCAL}:{name}:{version}"
    if store.has(identity):
        raise TemplateError(
            f"the store has {name} {version} already", hint=f"choose another --version, or lago template rm {identity}"
        )
    _check_readable(path)
    directory, file = os.path.split(os.path.abspath(path))
    store.download(TemplateVersion(identity, _ImportedFile(directory, format), file, 0))
    return identity


def _check_readable(path: str) -> None:
    """Raise TemplateError unless there is a file that can be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise TemplateError(f"{path} is no file, and so no disk image", hint=_TAKEN)
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except FileNotFoundError:
        raise TemplateError(f"there is no image {path}", hint="correct its path") from None
    except OSError as error:
        raise TemplateError(f"{path} can't be read: {error.strerror}", hint="make it readable for you") from None
