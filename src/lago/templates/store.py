"""The store: images on this host, each complete or not there at all.

Of a version `<repository>:<template>:<version>` there are the image, which has just that name, and beside it `.hash`,
`.metadata`, `.lock` and, for machines that boot without a boot loader, `.kernel`, `.kernel-efi` and `.initrd`. The
image comes last, by a rename; before that everything is in a directory whose name begins with a dot.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from typing import Any

from ..errors import HostError, TemplateError
from ..log import task
from ..topology import TemplateImage
from ..utils import json_text, lock_file, sync, write_atomically
from .providers import EXTRAS
from .repository import TemplateVersion

_OTHERS = (".hash", ".metadata", ".lock", ".users", ".tmp", *(f".{extra}" for extra in EXTRAS))
_PATIENCE = 3600.0
_QCOW2 = b"QFI\xfb"


class TemplateStore:
    """The store in the directory `path`, which is made when it is needed."""

    def __init__(self, path: str) -> None:
        self._root = os.path.abspath(path)

    def __contains__(self, version: TemplateVersion) -> bool:
        return os.path.exists(self._path(version.name))

    @property
    def path(self) -> str:
        """Its directory."""
        return self._root

    def list(self) -> list[str]:
        """Identities of the images in it."""
        with contextlib.suppress(FileNotFoundError):
            names = os.listdir(self._root)
            return sorted(n for n in names if n.count(":") == 2 and not n.startswith(".") and not n.endswith(_OTHERS))
        return []

    def get_path(self, version: TemplateVersion) -> str:
        """Path of an image.

        Raises:
            TemplateError: it is not in the store.
        """
        if version not in self:
            raise TemplateError(f"the template {version.name} is not in the store {self._root}")
        return self._path(version.name)

    def get_stored_metadata(self, version: TemplateVersion) -> dict[str, Any]:
        """What was known of the image when it was stored."""
        try:
            with open(self.get_path(version) + ".metadata", encoding="utf-8") as file:
                metadata: dict[str, Any] = json.load(file)
        except (OSError, ValueError) as error:
            raise TemplateError(
                f"the metadata of {version.name} cannot be read: {error}",
                hint=f"remove {self._path(version.name)}* to get the template again",
            ) from None
        return metadata

    def get_stored_hash(self, version: TemplateVersion) -> str:
        """Checksum of the image as it was stored."""
        with open(self.get_path(version) + ".hash", encoding="ascii") as file:
            return file.read().strip()

    def size(self, identity: str) -> int:
        """Bytes that an image and what belongs to it occupy on disk."""
        path = self._path(identity)
        names = [path, *(f"{path}.{extra}" for extra in EXTRAS)]
        return sum(os.stat(name).st_blocks * 512 for name in names if os.path.exists(name))

    def get_image(self, version: TemplateVersion) -> TemplateImage:
        """The image, for use in a topology."""
        return self._image(version.name, self.get_path(version), self.get_stored_metadata(version))

    def image_at(self, path: str) -> TemplateImage | None:
        """The image of the store that is at `path`, if one is."""
        if os.path.dirname(path) != os.path.realpath(self._root) or not os.path.exists(f"{path}.metadata"):
            return None
        with open(f"{path}.metadata", encoding="utf-8") as file:
            return self._image(os.path.basename(path), path, json.load(file))

    def _image(self, name: str, path: str, metadata: dict[str, Any]) -> TemplateImage:
        format = metadata.get("format") or _format(path)
        metadata.update({extra: f"{path}.{extra}" for extra in EXTRAS if os.path.exists(f"{path}.{extra}")})
        return TemplateImage(id=name, path=path, format=format, metadata=metadata)

    def ensure(self, version: TemplateVersion) -> TemplateImage:
        """The image, which is fetched or built first if it is not there.

        If another process is about to do so, we wait for it and use what it made.
        """
        if version not in self:
            self.download(version)
        return self.get_image(version)

    def download(self, version: TemplateVersion, store_metadata: bool = True) -> None:
        """Fetch or build an image into the store.

        Args:
            store_metadata: keep what the source says about it, too.
        """
        try:
            os.makedirs(self._root, exist_ok=True)
        except OSError as error:
            raise HostError(
                f"cannot make the template store {self._root}: {error.strerror}",
                hint="choose another place with LAGO_TEMPLATE_STORE",
            ) from None
        lock = self._path(version.name) + ".lock"
        with lock_file(lock, what=f"the template {version.name}", timeout=_PATIENCE):
            if version not in self:
                with task(f"Get template {version.name}"):
                    self._download(version, store_metadata)

    def _download(self, version: TemplateVersion, store_metadata: bool) -> None:
        final = self._path(version.name)
        staging = os.path.join(self._root, f".{version.name}.part")
        # We hold the lock: whoever left this is gone.
        shutil.rmtree(staging, ignore_errors=True)
        try:
            os.mkdir(staging)
            image = os.path.join(staging, "image")
            version.download(image)
            checksum = _verified_sha256(image, version.get_hash(), version.name)
            for extra in EXTRAS:
                if os.path.exists(f"{image}.{extra}"):
                    os.replace(f"{image}.{extra}", f"{final}.{extra}")
            write_atomically(f"{final}.metadata", json_text(version.get_metadata() if store_metadata else {}))
            write_atomically(f"{final}.hash", checksum + "\n")
            sync(image)
            os.rename(image, final)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _path(self, identity: str) -> str:
        return os.path.join(self._root, identity.replace("/", "_"))


def _format(path: str) -> str:
    with open(path, "rb") as file:
        return "qcow2" if file.read(4) == _QCOW2 else "raw"


def _verified_sha256(path: str, published: str | None, name: str) -> str:
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if published and len(published) == hashlib.sha1(usedforsecurity=False).digest_size * 2:
            # Repositories of earlier releases have SHA-1.
            file.seek(0)
            actual = hashlib.file_digest(file, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest()
        else:
            actual = found
    if published and actual != published.lower():
        raise TemplateError(
            f"the image of {name} is not what its source published",
            details=f"expected checksum {published}\nfound checksum    {actual}",
            hint="fetch it again later, or ask who runs the repository",
        )
    return found
