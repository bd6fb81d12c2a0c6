"""Lock files: which image each template of an init file was, so that everybody has the same.

Beside `LagoInitFile` there is `LagoInitFile.lock`:

    {"images": {"mini": {"image": "lago:mini:12.1.0a1b2c3d", "sha256": "..."}}, "version": 1}

A template that names a version is `<template>:<version>` there.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from ..errors import TemplateError
from ..host import shape
from ..host.files import PUBLIC, json_text, write_atomically
from ..log import LOG, say

_VERSION: Final = 1
_IMAGE: Final = {
    "image": shape.text(rf"(?![.])[^:{shape.CONTROL}]+(:[^:{shape.CONTROL}]+){{2}}", "the identity of an image"),
    "sha256": shape.text(),
}
_READ: Final = shape.record({"images": shape.mapping(shape.text(), shape.record(_IMAGE))})


class Locked(NamedTuple):
    """An image: its identity in the store, and the SHA-256 of its content."""

    image: str
    sha256: str


def key(name: str, version: str | None) -> str:
    """Name of a template in a lock file."""
    return name if version is None else f"{name}:{version}"


class LockFile:
    """The lock file of an init file; `frozen` if no other images may be used.

    Raises:
        TemplateError: it can't be read; or it is not there, but frozen.
    """

    def __init__(self, init_file: str, *, frozen: bool = False) -> None:
        self.path = f"{init_file}.lock"
        self.frozen = frozen
        self._before = self._read()
        self._now: dict[str, Locked] = {}

    def _read(self) -> dict[str, Locked]:
        remedy = "remove it, and lago init writes it anew"
        try:
            with open(self.path, encoding="utf-8") as file:
                raw = shape.parse(file.read(shape.MOST + 1))
            if shape.record({"version": shape.whole})(raw)["version"] != _VERSION:
                raise TemplateError(f"{self.path} is of a later release of Lago", hint=f"use that; or {remedy}")
            return {name: Locked(**one) for name, one in _READ(raw)["images"].items()}
        except FileNotFoundError:
            if self.frozen:
                raise TemplateError(
                    f"{self.path} is not there, which --frozen needs", hint="lago init without --frozen writes it"
                ) from None
            return {}
        except OSError as error:
            raise TemplateError(f"{self.path} can't be read: {error.strerror}", hint=remedy) from None
        except ValueError as error:
            raise TemplateError(f"{self.path} is no lock file", details=str(error), hint=remedy) from None

    def wanted(self, name: str, version: str | None) -> Locked | None:
        """The image that a template is to be; None if that is open.

        Raises:
            TemplateError: it is open, but frozen.
        """
        found = self._before.get(key(name, version))
        if found is None and self.frozen:
            raise TemplateError(
                f"the template {key(name, version)} is not in {self.path}, which --frozen needs",
                hint="lago init without --frozen adds it",
            )
        return found

    def mismatch(self, name: str, version: str | None, found: str) -> None:
        """Note that the image that is wanted can't be had. Raises TemplateError if frozen.

        Args:
            found: what there is instead, for people.
        """
        wanted = self._before[key(name, version)]
        if self.frozen:
            raise TemplateError(
                f"the template {key(name, version)} can't be had as {self.path} has it",
                details=f"expected {wanted.image}, sha256 {wanted.sha256}\nfound    {found}",
                hint="lago init without --frozen takes what there is, and writes the lock file anew",
            )
        say(f"{key(name, version)}: {self.path} has {wanted.image}, sha256 {wanted.sha256}; now it is {found}")

    def record(self, name: str, version: str | None, used: Locked) -> None:
        """Record an image in the lock file; `save` writes it."""
        self._now[key(name, version)] = used

    def save(self) -> None:
        """Write which images were used, if they were others before. What can't be written is not fatal."""
        if self._now == self._before or self.frozen:
            return
        images: dict[str, Any] = {name: used._asdict() for name, used in self._now.items()}
        try:
            write_atomically(self.path, json_text({"images": images, "version": _VERSION}), PUBLIC)
        except OSError as error:
            LOG.warning("%s can't be written, the next init may use other images: %s", self.path, error.strerror)
