"""Capsules as one file for another host: memory, and disks without what templates have."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ...disks import qemu_img
from ...errors import LagoError
from ...host.files import sha256
from ...paths import Paths
from ...templates.providers import EXTRAS
from ...templates.store import TemplateStore
from ...topology import state
from ...topology.model import Topology
from ..snapshots.index import Index, format_of, with_tops
from . import about, archive, shelf
from .about import SNAPSHOT
from .archive import Moved
from .shelf import Capsule

Begun = Callable[[int], Moved]
"""Told how many bytes will be moved, and returns what is told of them."""

_ALWAYS: Final = ("id_rsa", "id_rsa.pub")


class Template(NamedTuple):
    """An image of the store that disks lie over."""

    id: str
    path: str
    format: str
    metadata: dict[str, Any]
    sha256: str
    extras: dict[str, str]


def export(name: str, path: str, begun: Begun, *, standalone: bool = False, memory: bool = True) -> int:
    """Write a capsule to one file, and return its size in bytes. There is a whole file at the end, or none.

    Args:
        name: of the capsule.
        path: of the file, which is not there yet.
        begun: told of all bytes before the first is moved.
        standalone: have the templates in it as well; otherwise they are needed where it is imported.
        memory: have the memory of machines in it; otherwise they boot there.

    Raises:
        LagoError: there is no such capsule, the file is there already, or the capsule has what can't be moved.
        OSError: something can't be read or written.
    """
    with shelf.reading(name) as capsule, contextlib.ExitStack() as stack:
        plan = _Plan(capsule, memory=memory)
        for environment in capsule.about.environments:
            plan.add(environment)
        if standalone:
            plan.bundle(stack.enter_context(shelf.scratch()))
        try:
            with archive.appearing(path) as file:
                archive.write(file, plan.head(), plan.files, begun(plan.bytes()))
                return os.fstat(file.fileno()).st_size
        except FileExistsError:
            raise LagoError(f"{path} exists already", hint="choose another name") from None


class _Plan:
    """What goes into an archive."""

    def __init__(self, capsule: Capsule, *, memory: bool) -> None:
        self._capsule = capsule
        self._memory = memory
        self._templates: list[Template] = []
        self._images: dict[str, dict[str, Any]] = {}
        self._bundled = False
        self.files: dict[str, str] = {}

    def head(self) -> dict[str, Any]:
        """What the archive says of itself."""
        templates = [{**one._asdict(), "bundled": self._bundled} for one in self._templates]
        return {
            "version": about.VERSION,
            "name": self._capsule.name,
            "about": self._capsule.about.plain(),
            "memory": self._memory,
            "templates": templates,
            "images": self._images,
        }

    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(os.stat(path).st_size for path in self.files.values())

    def add(self, environment: str) -> None:
        """Add an environment. Raises LagoError if it has what can't be moved."""
        paths = Paths(os.path.join(self._capsule.path, environment))
        index = Index.load(paths)
        topology = with_tops(state.load(paths), index)
        images = self._images[environment] = {}
        saved = index.get(SNAPSHOT).vms
        for vm, one in saved.items():
            domain = topology.domains[vm]
            if self._memory and one.memory and not one.state:
                raise LagoError(
                    f"the memory of {vm} can't be exported: libvirt saved it as a whole, for its TPM",
                    hint="lago capsule export --without-memory",
                )
            for disk in domain.writable():
                for path in index.chain(one.disks[disk.name]):
                    images[path] = self._image(paths, vm, path, format_of(index, path, disk))
        kept = {path for one in saved.values() for path in (one.memory, one.state) if path}
        wanted = {path for path in index.needed(()) if self._memory or path not in kept}
        wanted |= {disk.path for domain in topology.domains.values() for disk in domain.disks if disk.format == "iso"}
        wanted |= {f"images/{entry}" for entry in os.listdir(paths.images()) if entry.endswith((".iso", ".fd"))}
        wanted |= {*_ALWAYS, *(os.path.relpath(path, paths.prefix()) for path in _described(paths, topology))}
        for path in sorted(wanted):
            if os.path.isabs(path):
                raise _elsewhere(self._capsule.name, path)
            full = os.path.join(paths.prefix(), path)
            # Logs are for people, who may remove them.
            if os.path.exists(full) or not path.startswith("logs/"):
                self.files[f"{environment}/{path}"] = full
        for vm in saved:
            log = paths.console_log(vm)
            if os.path.exists(log):
                self.files[f"{environment}/{os.path.relpath(log, paths.prefix())}"] = log
        self.files[f"{environment}/metadata"] = paths.metadata()

    def _image(self, paths: Paths, vm: str, path: str, format: str) -> dict[str, Any]:
        """What an image is, and what it lies over: another by its path, or a template by its number."""
        if os.path.isabs(path):
            raise _elsewhere(self._capsule.name, path)
        full = os.path.join(paths.prefix(), path)
        lower = qemu_img.below(full) if format == "qcow2" else None
        if lower is None:
            return {"format": format, "over": None}
        below = os.path.normpath(os.path.join(os.path.dirname(full), lower[0]))
        if below.startswith(f"{paths.images()}/"):
            return {"format": format, "over": os.path.relpath(below, paths.prefix())}
        return {"format": format, "over": self._template(vm, os.path.realpath(below))}

    def _template(self, vm: str, path: str) -> int:
        """Number of a template by its path."""
        for number, one in enumerate(self._templates):
            if one.path == path:
                return number
        store = TemplateStore(os.path.dirname(path))
        found = store.image_at(path)
        if found is None:
            raise LagoError(
                f"a disk of {vm} lies over {path}, which is in no template store",
                hint="take that into the store by lago template import, and make environments of it",
            )
        metadata = {key: value for key, value in found.metadata.items() if key not in EXTRAS}
        extras = {extra: sha256(f"{path}.{extra}") for extra in EXTRAS if os.path.exists(f"{path}.{extra}")}
        self._templates.append(Template(found.id, path, found.format, metadata, store.digest(found.id), extras))
        return len(self._templates) - 1

    def bundle(self, scratch: str) -> None:
        """Add the templates themselves.

        Args:
            scratch: directory for those that must be made whole first, since they lie over others.
        """
        self._bundled = True
        for number, one in enumerate(self._templates):
            image = one.path
            if len([*qemu_img.chain(one.path, one.format)]) > 1:
                image = os.path.join(scratch, str(number))
                qemu_img.convert(one.path, one.format, image, one.format)
                self._templates[number] = one._replace(sha256=sha256(image))
            self.files[f"templates/{number}"] = image
            for extra in one.extras:
                self.files[f"templates/{number}.{extra}"] = f"{one.path}.{extra}"


def _described(paths: Paths, topology: Topology) -> list[str]:
    return [
        paths.virt("env"),
        paths.snapshot_index(),
        *(paths.virt(f"net-{name}") for name in topology.nets),
        *(paths.virt(f"vm-{name}") for name in topology.domains),
    ]


def _elsewhere(name: str, path: str) -> LagoError:
    return LagoError(
        f"the capsule {name} can't be exported: a disk is {path}, which is not the environment's own",
        hint="make environments with make_a_copy: true for that disk",
    )
