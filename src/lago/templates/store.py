"""The store: images on this host, each complete or not there at all.

Of a version `<repository>:<template>:<version>` there are the image, which has just that name, and beside it `.hash`,
`.metadata`, `.lock` and, for machines that boot without a boot loader, `.kernel`, `.kernel-efi` and `.initrd`. The
image comes last, by a rename; before that everything is in a directory whose name begins with a dot.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ..disks import qemu_img
from ..errors import DiskError, FetchError, HostError, LockTimeout, TemplateError
from ..host.files import json_text, sha256, sync
from ..host.locks import lock_file
from ..host.shape import MOST, parse
from ..host.suggest import near
from ..log import task
from ..topology.model import TemplateImage
from .metadata import check_metadata
from .providers import EXTRAS
from .references import Users
from .repository import NO_IMAGES, OTHERS, TemplateVersion, base_of

_ORIGIN: Final = "origin"
"""Key of the metadata that says from which server an image came; none if from this host."""

_PATIENCE: Final = 3600.0


class TemplateStore:
    """The store in the directory `path`, which is made when it is needed."""

    def __init__(self, path: str) -> None:
        self._root = os.path.abspath(path)
        self.users = Users(self._root)

    def __contains__(self, version: TemplateVersion) -> bool:
        return self.has(version.name)

    @property
    def path(self) -> str:
        """Its directory."""
        return self._root

    def list(self) -> list[str]:
        """Identities of the images in it."""
        with contextlib.suppress(FileNotFoundError):
            names = os.listdir(self._root)
            return sorted(n for n in names if n.count(":") == 2 and not n.startswith(".") and not n.endswith(NO_IMAGES))
        return []

    def has(self, identity: str) -> bool:
        """Whether an image is in it."""
        return os.path.exists(self._path(identity))

    def of_base(self, base: str) -> Sequence[str]:
        """Identities of the revisions of a version in it, the one that came last first."""
        found = [identity for identity in self.list() if base_of(identity) == base_of(base)]
        return sorted(found, key=self.since, reverse=True)

    def get_path(self, version: TemplateVersion) -> str:
        """Path of an image.

        Raises:
            TemplateError: it is not in the store.
        """
        return self._there(version.name)

    def _there(self, identity: str) -> str:
        if not self.has(identity):
            raise TemplateError(
                f"the template {identity} is not in the store {self._root}", hint=near(identity, self.list())
            )
        return self._path(identity)

    def get_stored_metadata(self, version: TemplateVersion) -> dict[str, Any]:
        """What was known of the image when it was stored."""
        return self._metadata(version.name)

    def _metadata(self, identity: str) -> dict[str, Any]:
        try:
            with open(self._there(identity) + ".metadata", encoding="utf-8") as file:
                metadata = parse(file.read(MOST))
        except (OSError, ValueError) as error:
            raise TemplateError(
                f"the metadata of {identity} cannot be read: {error}",
                hint=f"lago template rm {identity}, to get it again",
            ) from None
        # What an earlier release stored was not checked when it came.
        return check_metadata(metadata, identity, f"lago template rm {identity}, to get it again")

    def get_stored_hash(self, version: TemplateVersion) -> str:
        """SHA-256 of the image as it was stored."""
        return self.digest(version.name)

    def digest(self, identity: str) -> str:
        """SHA-256 of an image as it was stored. Raises TemplateError."""
        try:
            with open(self._there(identity) + ".hash", encoding="ascii") as file:
                return file.read().strip()
        except OSError as error:
            raise TemplateError(
                f"the checksum of {identity} can't be read: {error.strerror}",
                hint=f"lago template rm {identity}, to get it again",
            ) from None

    def size(self, identity: str) -> int:
        """Bytes that an image and what belongs to it occupy on disk."""
        path = self._path(identity)
        names = [path, *(f"{path}.{extra}" for extra in EXTRAS)]
        return sum(os.stat(name).st_blocks * 512 for name in names if os.path.exists(name))

    def since(self, identity: str) -> float:
        """When an image came, in seconds since 1970."""
        return os.stat(f"{self._path(identity)}.hash").st_mtime if self.has(identity) else 0.0

    def get_image(self, version: TemplateVersion) -> TemplateImage:
        """The image, for use in a topology."""
        return self.image(version.name)

    def image(self, identity: str) -> TemplateImage:
        """An image by its identity. Raises TemplateError if it is not there."""
        path, metadata = self._there(identity), self._metadata(identity)
        # An earlier release did not always record it.
        format = metadata.pop("format", None) or qemu_img.seen_format(path)
        metadata.pop(_ORIGIN, None)
        metadata.update({extra: f"{path}.{extra}" for extra in EXTRAS if os.path.exists(f"{path}.{extra}")})
        return TemplateImage(id=identity, path=path, format=format, metadata=metadata)

    def image_at(self, path: str) -> TemplateImage | None:
        """The image of the store that is at `path`, if one is."""
        return self.image(os.path.basename(path)) if self._is_image(path) else None

    def _is_image(self, path: str) -> bool:
        return os.path.dirname(path) == os.path.realpath(self._root) and os.path.exists(f"{path}.metadata")

    def beneath(self, path: str, format: str) -> str | None:
        """Identity of the image of the store that the image at `path` is, or is an overlay of.

        Args:
            format: that of the image.
        """
        # If one is not there, whoever starts a machine hears of it.
        with contextlib.suppress(DiskError):
            for one in qemu_img.chain(path, format):
                if self._is_image(found := os.path.realpath(one)):
                    return os.path.basename(found)
        return None

    def mark_used(self, version: TemplateVersion, uuid_path: str) -> None:
        """Let a prefix, whose file `uuid` is at `uuid_path`, use an image: it stays as long as the prefix."""
        self.users.register(uuid_path, [version.name])

    def ensure(self, version: TemplateVersion) -> TemplateImage:
        """Get the image, which is fetched or built first if it is not there.

        If another process is about to do so, we wait for it and use what it made.

        Raises:
            TemplateError: it can't be had; or the one of its name came from elsewhere.
        """
        if version not in self:
            self.download(version)
        self.check_origin(version, version.name)
        if os.path.exists(self._staging(version.name)):
            self._tidy(version.name)
        return self.get_image(version)

    def check_origin(self, version: TemplateVersion, identity: str) -> None:
        """Raise TemplateError if an image came from another server than that of a version, and is not the same.

        The name of an image is what a repository document says; nothing keeps one from saying the name of another's.
        What was stored by a release that did not note where it came from is taken as it is.
        """
        came = self._metadata(identity).get(_ORIGIN, "")
        if came and came != version.origin and version.get_hash() != self.digest(identity):
            raise TemplateError(
                f"the image {identity} of the store is not that of {version.origin or 'the repository on this host'}",
                details=f"it came from a repository of the same name: {came}",
                hint=f"lago template rm {identity}, to get it from there; or use another version",
            )

    def download(self, version: TemplateVersion, store_metadata: bool = True) -> None:
        """Fetch or build an image into the store.

        Args:
            store_metadata: keep what the source says about it, too.

        Raises:
            FetchError: it can't be had.
            TemplateError: it is not what it should be.
            HostError: the store can't be written to.
        """
        try:
            os.makedirs(self._root, exist_ok=True)
            with lock_file(self._path(version.name) + ".lock", what=f"the template {version.name}", timeout=_PATIENCE):
                if version not in self:
                    with task(f"Get template {version.name}"):
                        self._download(version, store_metadata)
        except OSError as error:
            where = f": {error.filename}" if error.filename and error.filename != self._root else ""
            raise HostError(
                f"cannot write to the template store {self._root}: {error.strerror}{where}",
                hint="choose another place with --template-store or LAGO_TEMPLATE_STORE",
            ) from None

    def _download(self, version: TemplateVersion, store_metadata: bool) -> None:
        final = self._path(version.name)
        # We hold the lock: whoever left this is gone. What was fetched is of use.
        staging = self._staging(version.name)
        os.makedirs(staging, exist_ok=True)
        image = os.path.join(staging, "image")
        for entry in os.scandir(staging):
            if not entry.name.startswith("image.fetched"):
                _remove(entry.path)
        try:
            checksum = version.download(image)
            metadata = version.get_metadata() if store_metadata else {}
            metadata = {**metadata, "format": _accept(image, metadata.get("format"), version.name)}
            metadata.pop(_ORIGIN, None)
            if version.origin:
                metadata[_ORIGIN] = version.origin
            # Written where whoever comes after a kill looks for remains.
            for other, text in ((".metadata", json_text(metadata)), (".hash", checksum + "\n")):
                Path(image + other).write_text(text, encoding="utf-8")
                os.chmod(image + other, 0o644)
            for other in OTHERS:
                if os.path.exists(f"{image}{other}"):
                    os.replace(f"{image}{other}", f"{final}{other}")
            # Now, whatever else is put off: an image that is there shall be there as a whole.
            for path in (image, *(f"{final}{other}" for other in OTHERS)):
                if os.path.exists(path):
                    sync(path)
            os.rename(image, final)
        except (FetchError, KeyboardInterrupt, SystemExit):
            # The next try goes on where this one ended.
            if not os.listdir(staging):
                os.rmdir(staging)
            raise
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        shutil.rmtree(staging, ignore_errors=True)

    def _tidy(self, identity: str) -> None:
        """Remove what is left where an image was made, if its making ended as soon as the image was there."""
        with (
            contextlib.suppress(LockTimeout, OSError),
            lock_file(self._path(identity) + ".lock", what=f"the template {identity}", timeout=0),
        ):
            if self.has(identity):
                shutil.rmtree(self._staging(identity), ignore_errors=True)

    def verify(self, identity: str) -> bool:
        """Check whether an image is still what was stored. Raises TemplateError if it or its checksum is missing."""
        import hashlib

        stored = self.digest(identity)
        if len(stored) != hashlib.sha256().digest_size * 2:
            raise TemplateError(
                f"the checksum of {identity} is not that of the image, but what an earlier release stored",
                hint=f"lago template rm {identity}, to get it again",
            )
        return sha256(self._there(identity)) == stored

    def remove(self, identity: str) -> None:
        """Remove an image.

        Raises:
            TemplateError: it is not there, or a prefix uses it.
        """
        with self.users.locked():
            self._there(identity)
            if users := self.users.of(identity):
                raise TemplateError(
                    f"the image {identity} is in use",
                    details="\n".join(f"by {user.path}" for user in users),
                    hint="lago destroy those first",
                )
            self._remove(identity)

    def prune(self, *, everything: bool = False, missing: bool = False) -> dict[str, int]:
        """Remove images that no prefix uses, and what interrupted downloads left; the bytes that each occupied.

        Args:
            everything: also the one of each template that came last.
            missing: let prefixes count as gone that were on other file systems and are not where they were.
        """
        with self.users.locked():
            self.users.sweep(missing=missing)
            used = {identity for user in self.users.all() for identity in user.images}
            newest = {template_of(one): one for one in sorted(self.list(), key=self.since)}
            doomed = [one for one in self.list() if one not in used and (everything or newest[template_of(one)] != one)]
            freed = {one: self.size(one) for one in doomed}
            for one in doomed:
                self._remove(one)
            freed.update(self._sweep())
        return freed

    def _remove(self, identity: str) -> None:
        path = self._path(identity)
        # The image first, as without it nothing else counts.
        for suffix in ("", *OTHERS):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path + suffix)

    def _sweep(self) -> dict[str, int]:
        """Remove what interrupted downloads left, unless they are under way."""
        freed = {}
        names = os.listdir(self._root)
        left = {name[1 : -len(".part")] for name in names if name.startswith(".") and name.endswith(".part")}
        left |= {name.removesuffix(other) for name in names for other in OTHERS if name.endswith(other)} - {*names}
        for identity in sorted(left):
            with (
                contextlib.suppress(LockTimeout),
                lock_file(self._path(identity) + ".lock", what=identity, timeout=0),
            ):
                staging = self._staging(identity)
                if os.path.exists(staging):
                    freed[os.path.basename(staging)] = sum(one.stat().st_blocks * 512 for one in os.scandir(staging))
                    _remove(staging)
                if not self.has(identity):
                    self._remove(identity)
        return freed

    def _path(self, identity: str) -> str:
        return os.path.join(self._root, identity.replace("/", "_"))

    def _staging(self, identity: str) -> str:
        return os.path.join(self._root, f".{os.path.basename(self._path(identity))}.part")


def template_of(identity: str) -> str:
    """Repository and template of the identity of an image."""
    return identity.rpartition(":")[0]


def _remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def accept(path: str, name: str, formats: Sequence[str] = qemu_img.FORMATS, *, over_others: bool = False) -> str:
    """As `qemu_img.accept`, for an image that is to be a template, or below one. Raises TemplateError."""
    try:
        return qemu_img.accept(path, name, formats=formats, over_others=over_others)
    except DiskError as error:
        raise TemplateError(error.what, details=error.details, hint=error.hint) from None


def _accept(path: str, said: str | None, name: str) -> str:
    """The format of an image. Raises TemplateError if it is not the one that was said, or can't be used."""
    format = accept(path, f"the image of {name}")
    if said not in (None, format):
        raise TemplateError(f"the image of {name} is {format}, not {said}", hint="ask who runs the repository")
    return format
