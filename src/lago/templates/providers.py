"""Where images come from: a directory, or a build on this host."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from ..errors import TemplateError

EXTRAS: Final = ("kernel", "kernel-efi", "initrd")
"""Files that may lie beside an image, as `<image>.kernel` and so on, for machines that boot without a boot loader.

`kernel-efi` is for UEFI firmware, where that can't start `kernel`."""


class Provider(Protocol):
    """What a repository's source can do."""

    def download_image(self, handle: str, dest: str) -> None:
        """Write the image to `dest`, and its `EXTRAS`, if any, beside it."""

    def get_hash(self, handle: str) -> str | None:
        """The published checksum of the image, hexadecimal; None when the source doesn't know it beforehand."""

    def get_metadata(self, handle: str) -> dict[str, Any]:
        """What the source says about the image."""

    def revision(self, handle: str) -> str:
        """Tells versions apart that have the same name in the repository; usually empty."""


class FileSystemTemplateProvider:
    """Images in the directory `root`, each with `<handle>.hash` and `<handle>.metadata` beside it."""

    def __init__(self, root: str) -> None:
        self._root = _expanded(root)

    def download_image(self, handle: str, dest: str) -> None:
        """Copy the image to `dest`, and its kernels and initrd beside it."""
        source = self._path(handle)
        try:
            shutil.copyfile(source, dest)
            for extra in EXTRAS:
                if os.path.exists(f"{source}.{extra}"):
                    shutil.copyfile(f"{source}.{extra}", f"{dest}.{extra}")
        except FileNotFoundError:
            raise TemplateError(
                f"there is no image {source}", hint="check `root` of the source in the repository document"
            ) from None

    def get_hash(self, handle: str) -> str | None:
        """The checksum in `<handle>.hash`."""
        text = self._read(f"{handle}.hash")
        return text.split()[0] if text and text.split() else None

    def get_metadata(self, handle: str) -> dict[str, Any]:
        """The JSON in `<handle>.metadata`."""
        text = self._read(f"{handle}.metadata")
        try:
            metadata = json.loads(text or "{}")
        except ValueError as error:
            raise TemplateError(f"{self._path(handle)}.metadata is not JSON", details=str(error)) from None
        if not isinstance(metadata, dict):
            raise TemplateError(f"{self._path(handle)}.metadata is not a JSON object")
        return metadata

    def revision(self, handle: str) -> str:  # noqa: ARG002 (every provider has it)
        """Always empty: versions of files have their own names."""
        return ""

    def _path(self, handle: str) -> str:
        return os.path.join(self._root, _expanded(handle))

    def _read(self, name: str) -> str | None:
        try:
            with open(self._path(name), encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return None


class BuildProvider:
    """Images built on this host; a handle is the name of a recipe."""

    def __init__(self) -> None:
        self._metadata: dict[str, dict[str, Any]] = {}

    def download_image(self, handle: str, dest: str) -> None:
        """Build the image."""
        from .build import build

        work = f"{dest}.work"
        os.mkdir(work)
        self._metadata[handle] = build(handle, dest, work)
        shutil.rmtree(work)

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


def _expanded(path: str) -> str:
    return os.path.expanduser(os.path.expandvars(path))


def make_provider(name: str, source: Mapping[str, Any]) -> Provider:
    """The provider that a source of a repository document describes."""
    kinds: dict[str, Callable[..., Provider]] = {"file": FileSystemTemplateProvider, "build": BuildProvider}
    kind = source.get("type")
    if kind not in kinds:
        raise TemplateError(
            f"the source {name} has the unknown type {kind}", hint=f"known types are: {', '.join(sorted(kinds))}"
        )
    arguments = source.get("args") or {}
    try:
        return kinds[str(kind)](**arguments)
    except TypeError:
        raise TemplateError(
            f"the source {name} of type {kind} has the wrong args: {', '.join(arguments) or 'none'}"
        ) from None
