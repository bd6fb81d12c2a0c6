"""Images by their path that disks are overlays of (`template_type: qcow2`), plain or layered on images of the store."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

from .. import disks
from ..errors import TemplateError
from ..topology import TemplateImage
from .choose import Chooser
from .providers import EXTRAS


def image(path: str, templates: Chooser) -> TemplateImage:
    """The image at `path`, after everything that it is layered on has been found.

    A backing file that is not there and called `<template>:<version>` is that template, which is fetched and linked to.

    Raises:
        TemplateError: the image or a backing file can't be had.
    """
    if not os.path.isfile(path):
        raise TemplateError(f"the image {path} is not there", hint="correct its path in the init file")
    base, own = _base(path, templates, ()), _beside(path)
    if base and own.get("base-sha256"):
        _check_base(path, base, own["base-sha256"])
    # One on a template of ours boots as that does.
    metadata = {**(base.metadata if base else {}), **own}
    return TemplateImage(id=path, path=path, format=disks.info(path)["format"], metadata=metadata)


def _beside(path: str) -> dict[str, Any]:
    """What an export says about an image, and what it wrote beside it to boot from."""
    known: dict[str, Any] = {}
    try:
        with open(f"{path}.metadata", encoding="utf-8") as file:
            known = json.load(file)
    except FileNotFoundError:
        pass
    except ValueError as error:
        raise TemplateError(f"{path}.metadata is not JSON", details=str(error)) from None
    # What it boots from lies beside it, and is no other file of this host.
    known = {key: value for key, value in known.items() if key not in EXTRAS}
    return {**known, **{extra: f"{path}.{extra}" for extra in EXTRAS if os.path.exists(f"{path}.{extra}")}}


def _check_base(path: str, base: TemplateImage, expected: str) -> None:
    """Raise TemplateError unless a template is the very image that `path` was exported over."""
    with open(f"{base.path}.hash", encoding="ascii") as file:
        found = file.read().strip()
    if found != expected:
        raise TemplateError(
            f"the image {path} was exported over another {base.id} than the one that is here",
            details=f"expected checksum {expected}\nfound checksum    {found}",
            hint="bring the template from where it was exported, or export with --standalone",
        )


def _base(path: str, templates: Chooser, above: tuple[str, ...]) -> TemplateImage | None:
    """The template at the bottom of an image."""
    stored = disks.info(path).get("backing-filename")
    if stored is None:
        return templates.store.image_at(os.path.realpath(path))
    if ":" in stored.partition("/")[0]:
        raise TemplateError(
            f"the image {path} is layered on {stored}, which QEMU takes for a protocol and not for a file",
            hint=f"qemu-img rebase -u -F qcow2 -b ./{stored} {path}",
        )
    below = os.path.join(os.path.dirname(path), stored)
    above = (*above, os.path.realpath(path))
    if os.path.realpath(below) in above:
        raise TemplateError(f"the image {path} is layered on itself", hint=f"qemu-img info -U {path} shows it")
    name, _, version = os.path.basename(below).partition(":")
    if os.path.exists(below):
        base = _base(below, templates, above)
        if base and name and version:
            templates.use(name, version, base)
        return base
    if not name or not version:
        raise TemplateError(
            f"the image {path} is layered on {below}, which is not there",
            hint="put it there, or name a template with <template>:<version>",
        )
    found = templates.get(name, version)
    # A link that leads nowhere is to a store that is gone.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(below)
    os.symlink(found.path, below)
    return found
