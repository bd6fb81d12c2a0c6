"""Images by their path that disks are overlays of (`template_type: qcow2`), plain or layered on images of the store."""

from __future__ import annotations

import os

from .. import disks
from ..errors import TemplateError
from ..topology import TemplateImage
from .repository import TemplateRepository
from .store import TemplateStore


def image(path: str, repository: TemplateRepository, store: TemplateStore) -> TemplateImage:
    """The image at `path`, after everything that it is layered on has been found.

    A backing file that is not there and called `<template>:<version>` is that template, which is fetched and linked to.

    Raises:
        TemplateError: the image or a backing file can't be had.
    """
    if not os.path.isfile(path):
        raise TemplateError(f"the image {path} is not there", hint="correct its path in the init file")
    base = _base(path, repository, store, ())
    # An image without layers says nothing of itself; one on a template of ours boots as that does.
    metadata = base.metadata if base else {}
    return TemplateImage(id=path, path=path, format=disks.info(path)["format"], metadata=metadata)


def _base(
    path: str, repository: TemplateRepository, store: TemplateStore, above: tuple[str, ...]
) -> TemplateImage | None:
    """The template at the bottom of an image."""
    stored = disks.info(path).get("backing-filename")
    if stored is None:
        return store.image_at(os.path.realpath(path))
    if ":" in stored.partition("/")[0]:
        raise TemplateError(
            f"the image {path} is layered on {stored}, which QEMU takes for a protocol and not for a file",
            hint=f"qemu-img rebase -u -F qcow2 -b ./{stored} {path}",
        )
    below = os.path.join(os.path.dirname(path), stored)
    above = (*above, os.path.realpath(path))
    if os.path.realpath(below) in above:
        raise TemplateError(f"the image {path} is layered on itself", hint=f"qemu-img info -U {path} shows it")
    if os.path.exists(below):
        return _base(below, repository, store, above)
    name, _, version = os.path.basename(below).partition(":")
    if not name or not version:
        raise TemplateError(
            f"the image {path} is layered on {below}, which is not there",
            hint="put it there, or name a template with <template>:<version>",
        )
    found = store.ensure(repository.get_by_name(name).get_version(version))
    os.symlink(found.path, below)
    return found
