"""Where images come from: a web server, a directory, or a build on this host."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, NamedTuple, Protocol

from ..errors import FetchError, TemplateError
from ..host.fetch import Stream, check_scheme, read_text
from ..host.files import sha256
from ..host.shape import MOST, parse
from . import checksums
from .checksums import Checksum
from .download import copy_image, fetch_image

EXTRAS: Final = ("kernel", "kernel-efi", "initrd")
"""Files that may lie beside an image, as `<image>.kernel` and so on, for machines that boot without a boot loader.

`kernel-efi` is for UEFI firmware, where that can't start `kernel`."""


class Provider(Protocol):
    """What a repository's source can do."""

    def download_image(self, handle: str, dest: str) -> str:
        """Write the image to `dest`, verified, and its `EXTRAS`, if any, beside it; its SHA-256."""

    def get_hash(self, handle: str) -> str | None:
        """The published checksum, hexadecimal; None when the source doesn't know it beforehand."""

    def get_metadata(self, handle: str) -> dict[str, Any]:
        """What the source says about the image."""

    def revision(self, handle: str) -> str:
        """Tells versions apart that have the same name in the repository; usually empty."""


class Origin(Protocol):
    """Where a repository document comes from, which decides what its sources may name."""

    def check(self, kind: str, arguments: Mapping[str, str]) -> None:
        """Raise TemplateError unless it may have a source of a kind with these arguments."""


class Anywhere:
    """A document that whoever calls us has on this host: it may name all that he may read."""

    def check(self, kind: str, arguments: Mapping[str, str]) -> None:
        """Raise FetchError if an address is none."""
        if kind in _OF_SERVERS and "baseurl" in arguments:
            check_scheme(arguments["baseurl"])


class Stranger(NamedTuple):
    """A document of somebody else: it may name servers, and recipes of Lago. Files of this host are not its business.

    Attributes:
        what: says so, of the document.
    """

    what: str

    def check(self, kind: str, arguments: Mapping[str, str]) -> None:
        """Raise an error if it names anything but servers and what is built."""
        if kind == "file":
            raise TemplateError(
                f"{self.what}, and names files of this host as images",
                hint="only a document on this host can have a source of type file, and none with --restrict",
            )
        if kind in _OF_SERVERS and "baseurl" in arguments:
            check_scheme(arguments["baseurl"], ("http", "https"))


class FileSystemTemplateProvider:
    """Images in the directory `root`, each with `<handle>.hash` and `<handle>.metadata` beside it."""

    def __init__(self, root: str) -> None:
        self._root = _expand(root)

    def download_image(self, handle: str, dest: str) -> str:
        """Copy the image to `dest`, unpacked, and its kernels and initrd beside it."""
        source, digest = self._path(handle), self.get_hash(handle)
        try:
            found = copy_image(source, dest, Checksum(digest, f"{source}.hash") if digest else None)
            for extra in EXTRAS:
                if os.path.exists(f"{source}.{extra}"):
                    self._check_place(f"{source}.{extra}")
                    shutil.copyfile(f"{source}.{extra}", f"{dest}.{extra}")
        except FileNotFoundError:
            raise TemplateError(
                f"there is no image {source}", hint="check `root` of the source in the repository document"
            ) from None
        return found

    def get_hash(self, handle: str) -> str | None:
        """The checksum in `<handle>.hash`, of the image unpacked."""
        return _word(self._read(f"{handle}.hash"))

    def get_metadata(self, handle: str) -> dict[str, Any]:
        """The JSON in `<handle>.metadata`."""
        return _metadata(self._read(f"{handle}.metadata"), f"{self._path(handle)}.metadata")

    def revision(self, handle: str) -> str:  # noqa: ARG002 (every provider has it)
        """Always empty: versions of files have their own names."""
        return ""

    def _check_place(self, path: str) -> None:
        """Raise TemplateError if a file beside an image is a link to one elsewhere, which could be any of this host."""
        root, real = os.path.realpath(self._root), os.path.realpath(path)
        if os.path.islink(path) and os.path.commonpath((root, real)) != root:
            raise TemplateError(f"{path} is a link to {real}, outside of {root}", hint="put the file itself there")

    def _path(self, handle: str) -> str:
        return os.path.join(self._root, _expand(handle))

    def _read(self, name: str) -> str | None:
        try:
            with open(self._path(name), encoding="utf-8", errors="replace") as file:
                return file.read(MOST)
        except FileNotFoundError:
            return None


class HttpTemplateProvider:
    """Images below the address `baseurl`, each with `<handle>.hash` and `<handle>.metadata` beside it.

    `<handle>.xz` is preferred where there is one.
    """

    def __init__(self, baseurl: str) -> None:
        self._base = baseurl.rstrip("/") + "/"

    def download_image(self, handle: str, dest: str) -> str:
        """Fetch the image to `dest`, unpacked."""
        digest, source = self.get_hash(handle), f"{self._base}{handle}.hash"
        checksum = Checksum(digest, source) if digest else None
        return fetch_image(lambda have, validator: self._open(handle, have, validator), dest, checksum)

    def get_hash(self, handle: str) -> str | None:
        """The checksum in `<handle>.hash`, of the image unpacked."""
        return _word(self._read(handle, ".hash"))

    def get_metadata(self, handle: str) -> dict[str, Any]:
        """The JSON in `<handle>.metadata`."""
        return _metadata(self._read(handle, ".metadata"), f"{self._base}{handle}.metadata")

    def revision(self, handle: str) -> str:  # noqa: ARG002 (every provider has it)
        """Always empty: versions of files have their own names."""
        return ""

    def _open(self, handle: str, have: int, validator: str) -> Stream:
        try:
            return Stream(f"{self._base}{handle}.xz", have, validator)
        except FetchError as error:
            if error.code is None:
                raise
        return Stream(f"{self._base}{handle}", have, validator)

    def _read(self, handle: str, suffix: str) -> str | None:
        try:
            return read_text(f"{self._base}{handle}.xz{suffix}")
        except FetchError as error:
            # Stores of objects say 403 of what is not there.
            if error.code is None:
                raise
        try:
            return read_text(f"{self._base}{handle}{suffix}")
        except FetchError as error:
            if error.code not in (404, 410):
                raise
        return None


class CloudImageProvider:
    """Images below the address `baseurl`, as distributions publish them: with a file of checksums in their directory.

    In the last part of a handle `*` stands for anything: of several images the newest by its name is meant. Each new
    checksum makes a new version.

    Args:
        checksums: name of that file; `{name}` in it stands for the name of the image.
    """

    def __init__(self, baseurl: str, checksums: str) -> None:
        self._base = baseurl.rstrip("/") + "/"
        self._checksums = checksums
        # Asked once, so that everything is about the same image.
        self._found = cache(self._find)

    def download_image(self, handle: str, dest: str) -> str:
        """Fetch the image to `dest`, unpacked."""
        url, checksum = self._found(handle)
        return fetch_image(lambda have, validator: Stream(url, have, validator), dest, checksum)

    def get_hash(self, handle: str) -> str | None:
        """The published checksum, of the image as it is fetched."""
        return self._found(handle)[1].digest

    def get_metadata(self, handle: str) -> dict[str, Any]:  # noqa: ARG002 (every provider has it)
        """Nothing: the repository document knows."""
        return {}

    def revision(self, handle: str) -> str:
        """The beginning of the checksum."""
        return self._found(handle)[1].digest[:8]

    def _find(self, handle: str) -> tuple[str, Checksum]:
        directory, slash, name = handle.rpartition("/")
        place = f"{self._base}{directory}{slash}"
        source = place + self._checksums.replace("{name}", name)
        name, digest = checksums.find(read_text(source), name, source, own="{name}" in self._checksums)
        return place + name, Checksum(digest, source, packed=True)


class BuildProvider:
    """Images built on this host; a handle is the name of a recipe."""

    def __init__(self) -> None:
        self._metadata: dict[str, dict[str, Any]] = {}

    def download_image(self, handle: str, dest: str) -> str:
        """Build the image."""
        from .build import build, get_recipe

        work = f"{dest}.work"
        os.mkdir(work)
        self._metadata[handle] = build(get_recipe(handle), dest, work)
        shutil.rmtree(work)
        return sha256(dest)

    def get_hash(self, handle: str) -> str | None:  # noqa: ARG002 (every provider has it)
        """None: nobody knows it before."""
        return None

    def get_metadata(self, handle: str) -> dict[str, Any]:
        """What the build, which comes first, found out."""
        return self._metadata[handle]

    def revision(self, handle: str) -> str:
        """The beginning of the recipe's digest: another recipe makes another version."""
        from .build import get_recipe

        return get_recipe(handle).digest()[:8]


def _expand(path: str) -> str:
    return os.path.expanduser(os.path.expandvars(path))


def _word(text: str | None) -> str | None:
    return text.split()[0] if text and text.split() else None


def _metadata(text: str | None, source: str) -> dict[str, Any]:
    try:
        metadata = parse(text or "{}")
    except ValueError as error:
        raise TemplateError(f"{source} is not JSON", details=str(error)) from None
    if not isinstance(metadata, dict):
        raise TemplateError(f"{source} is not a JSON object")
    return metadata


_KINDS: Final[dict[str, Callable[..., Provider]]] = {
    "build": BuildProvider,
    "cloud": CloudImageProvider,
    "file": FileSystemTemplateProvider,
    "http": HttpTemplateProvider,
}


_OF_SERVERS: Final = ("cloud", "http")


def make_provider(name: str, source: Mapping[str, Any], origin: Origin | None = None) -> Provider:
    """The provider that a source of a repository document describes.

    Args:
        origin: where the document comes from; without it, it may name all that there is.

    Raises:
        TemplateError: the source is none of those that there are, or names what it may not.
        FetchError: its address is none.
    """
    kind = source.get("type")
    if kind not in _KINDS:
        raise TemplateError(
            f"the source {name} has the unknown type {kind}", hint=f"known types are: {', '.join(_KINDS)}"
        )
    arguments = source.get("args") or {}
    (origin or Anywhere()).check(kind, arguments)
    try:
        return _KINDS[kind](**arguments)
    except (TypeError, AttributeError):
        raise TemplateError(f"the source {name} of type {kind} has the wrong args: {json.dumps(arguments)}") from None
