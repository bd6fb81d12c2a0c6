"""The disks of machines as images of an export."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable
from typing import NamedTuple

from ... import templates
from ...disks import qemu_img
from ...errors import LagoError
from ...host.files import PUBLIC, json_text, sha256, sync, write_atomically
from ...log import LOG
from ...templates.providers import EXTRAS
from ...topology.model import Disk, Domain, TemplateImage


class Image(NamedTuple):
    """A disk that is exported, and what the file will be called."""

    vm: str
    disk: Disk
    format: str

    @property
    def name(self) -> str:
        """The name of the file."""
        return f"{self.vm}_{self.disk.name}.{self.format}"


def plan(domains: Iterable[Domain], *, compress: bool = False) -> list[Image]:
    """The images of machines, without disks that say `skip-export`; a raw image can't be packed but as a qcow2."""
    return [
        Image(domain.name, disk, "qcow2" if compress and disk.format == "raw" else disk.format)
        for domain in domains
        for disk in domain.disks
        if not disk.skip_export
    ]


def write(image: Image, prefix: str, directory: str, *, standalone: bool, compress: bool) -> None:
    """Write the image of a disk of the environment at `prefix`, its checksum and what is known of it."""
    disk = image.disk
    source, target = os.path.join(prefix, disk.path), os.path.join(directory, image.name)
    base = None if standalone or disk.template is None else _base(source)
    if disk.format == "iso":
        qemu_img.copy(source, target)
    elif base is None:
        qemu_img.convert(source, disk.format, target, image.format, compress=compress)
    else:
        name = f"./{_reference(base)}"
        qemu_img.convert_onto(source, target, base.path, base.format, name, compress=compress)
    checksum = sha256(target)
    known = {**disk.metadata, **(disk.template.metadata if disk.template else {})}
    facts = {
        **{key: value for key, value in known.items() if key not in EXTRAS},
        "name": os.path.splitext(image.name)[0],
        "version": f"{time.strftime('%Y%m%d')}.0",
        "format": "raw" if image.format == "iso" else image.format,
        "size": os.stat(target).st_size,
        "sha256": checksum,
        "base": _reference(base) if base else None,
        "base-sha256": templates.TemplateStore(os.path.dirname(base.path)).digest(base.id) if base else None,
    }
    write_atomically(f"{target}.metadata", json_text(facts), PUBLIC)
    write_atomically(f"{target}.hash", f"{checksum}\n", PUBLIC)
    sync(target)


def write_extras(images: Iterable[Image], directory: str) -> None:
    """Write what machines boot from beside their disks, where those lie over no template; each file is there once."""
    written: dict[str, str] = {}
    for image in images:
        target = os.path.join(directory, image.name)
        template = image.disk.template
        if template is None or qemu_img.below(target):
            continue
        known = template.metadata
        for extra in EXTRAS:
            if extra not in known:
                continue
            if not _is_of_image(known[extra], extra, template):
                LOG.warning("%s is left out, it does not belong to the image of %s", known[extra], image.name)
                continue
            if known[extra] in written:
                os.link(written[known[extra]], f"{target}.{extra}")
                continue
            written[known[extra]] = f"{target}.{extra}"
            shutil.copyfile(known[extra], f"{target}.{extra}")
            sync(f"{target}.{extra}")


def _is_of_image(path: str, extra: str, template: TemplateImage) -> bool:
    """Whether a kernel or an initrd lies beside an image of a template, and is no other file of this host."""
    beside = [f"{os.path.realpath(one)}.{extra}" for one in qemu_img.chain(template.path, template.format)]
    return os.path.realpath(path) in beside and not os.path.islink(path)


def _base(path: str) -> TemplateImage | None:
    """The template of the store that an image lies over, whatever lies between; None if it is over none."""
    bottom = os.path.realpath([*qemu_img.chain(path, "qcow2")][-1])
    found = templates.TemplateStore(os.path.dirname(bottom)).image_at(bottom)
    if found is None:
        LOG.warning("%s lies over no template of a store, and is exported as a whole", path)
    return found


def _reference(base: TemplateImage) -> str:
    """`<template>:<version>`, as the repository has it."""
    _, name, version = base.id.split(":")
    # The version of what is built here is followed by the digest of its recipe.
    try:
        known = templates.default_repository().get_by_name(name).versions
    except LagoError:
        known = {}
    return f"{name}:{next((v for v, one in known.items() if one.name == base.id), version)}"
