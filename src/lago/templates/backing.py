"""Images by their path that disks are overlays of (`template_type: qcow2`), plain or layered on images of the store."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from ..disks import qemu_img
from ..errors import TemplateError
from ..host import shape
from ..topology.model import TemplateImage
from .choose import Chooser
from .metadata import check_metadata
from .providers import EXTRAS
from .store import accept


def image(path: str, templates: Chooser) -> TemplateImage:
    """Find the image at `path`, and everything that it is layered on.

    A backing file that is not there and called `<template>:<version>` is that template, which is fetched and linked to.

    Raises:
        TemplateError: the image or a backing file can't be had.
    """
    if not os.path.isfile(path):
        raise TemplateError(f"the image {path} is not there", hint="correct its path in the init file")
    places = {os.path.realpath(os.path.dirname(path)), os.path.dirname(os.path.realpath(path))}
    format = _accept(path, qemu_img.FORMATS)
    base, own = _Chain(templates, places).base(path, format, ()), _beside(path)
    if base and own.get("base-sha256"):
        _check_base(path, base, templates.store.digest(base.id), own["base-sha256"])
    # One on a template of ours boots as that does.
    metadata = {**(base.metadata if base else {}), **own}
    return TemplateImage(id=path, path=path, format=format, metadata=metadata)


def _beside(path: str) -> dict[str, Any]:
    """What an export says about an image, and what it wrote beside it to boot from."""
    known: Any = {}
    try:
        with open(f"{path}.metadata", encoding="utf-8") as file:
            known = shape.parse(file.read(shape.MOST))
    except FileNotFoundError:
        pass
    except ValueError as error:
        raise TemplateError(f"{path}.metadata is not JSON", details=str(error)) from None
    known = check_metadata(known, path, f"correct {path}.metadata")
    known.pop("format", None)
    return {**known, **{extra: f"{path}.{extra}" for extra in EXTRAS if _is_there(f"{path}.{extra}")}}


def _is_there(path: str) -> bool:
    # What it boots from lies beside it, and is no other file of this host.
    if os.path.islink(path):
        raise TemplateError(f"{path} is a link, and might be any file of this host", hint="put the file itself there")
    return os.path.isfile(path)


def _check_base(path: str, base: TemplateImage, found: str, expected: str) -> None:
    """Raise TemplateError unless a template is the very image that `path` was exported over."""
    if found != expected:
        raise TemplateError(
            f"the image {path} was exported over another {base.id} than the one that is here",
            details=f"expected checksum {expected}\nfound checksum    {found}",
            hint="bring the template from where it was exported, or export with --standalone",
        )


def _accept(path: str, formats: Sequence[str]) -> str:
    """The format of an image of a chain. Raises TemplateError if it can't be one."""
    return accept(path, f"the image {path}", formats, over_others=True)


class _Chain:
    """Finds what an image lies over, which is in the store or in one of some directories, and nowhere else."""

    def __init__(self, templates: Chooser, places: Iterable[str]) -> None:
        self._templates = templates
        self._places = tuple(places)

    def base(self, path: str, format: str, above: tuple[str, ...]) -> TemplateImage | None:
        """The template at the bottom of an image that is accepted but for its backing file."""
        lower = qemu_img.below(path) if format == "qcow2" else None
        if lower is None:
            return self._templates.store.image_at(os.path.realpath(path))
        stored, recorded = lower
        if ":" in stored.partition("/")[0]:
            raise TemplateError(
                f"the image {path} is layered on {stored}, which QEMU takes for a protocol and not for a file",
                hint=f"qemu-img rebase -u -F qcow2 -b {shlex.quote(f'./{stored}')} {shlex.quote(path)}",
            )
        below = os.path.join(os.path.dirname(path), stored)
        above = (*above, os.path.realpath(path))
        if os.path.realpath(below) in above:
            raise TemplateError(
                f"the image {path} is layered on itself", hint=f"qemu-img info -U {shlex.quote(path)} shows it"
            )
        if recorded not in (None, *qemu_img.FORMATS):
            raise TemplateError(
                f"the image {path} is layered on {below} of the format {recorded}, not {' or '.join(qemu_img.FORMATS)}",
                hint=f"qemu-img rebase -F qcow2 -b QCOW2_IMAGE {shlex.quote(path)}",
            )
        name, _, version = os.path.basename(below).partition(":")
        if os.path.exists(below):
            base = self._templates.store.image_at(os.path.realpath(below)) or self._image(path, below, recorded, above)
            if base and name and version:
                self._templates.use(name, version, base)
            return base
        self._check_place(path, below, os.path.dirname(below))
        if not name or not version:
            raise TemplateError(
                f"the image {path} is layered on {below}, which is not there",
                hint="put it there, or name a template with <template>:<version>",
            )
        found = self._templates.get(name, version)
        # A link that leads nowhere is to a store that is gone.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(below)
        os.symlink(found.path, below)
        return found

    def _image(self, path: str, below: str, recorded: str | None, above: tuple[str, ...]) -> TemplateImage | None:
        """The template at the bottom of an image that another one lies over, and that is none of the store."""
        self._check_place(path, below, below)
        if recorded is None:
            raise TemplateError(
                f"the image {path} does not say of which format {below} is, which it is layered on",
                hint=f"qemu-img rebase -u -F {qemu_img.seen_format(below)} -b {shlex.quote(below)} {shlex.quote(path)}",
            )
        # What is used as raw names no files, whatever is in it.
        if recorded != "raw":
            _accept(below, (recorded,))
        return self.base(below, recorded, above)

    def _check_place(self, path: str, below: str, place: str) -> None:
        real = os.path.realpath(place)
        if not any(os.path.commonpath((real, one)) == one for one in self._places):
            raise TemplateError(
                f"the image {path} is layered on {below}, which is neither below its own directory nor in the store",
                hint="put that beside it, or take it into the store by lago template import",
            )
