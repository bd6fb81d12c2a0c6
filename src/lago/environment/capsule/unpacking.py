"""Capsules come from a file that another host has written, maybe a stranger's.

All of it is bounded and checked before the capsule is there. Files are put where their names are allowed to be and
nowhere else; of what an environment says of itself only what leads to nothing of this host is taken; images have the
formats that are told, and are laid over those beside them and over templates of the store whose checksums are the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from ... import templates
from ...constants import DEPLOY_SCRIPTS, OVIRT_SCRIPTS, PRIVATE
from ...disks import qemu_img
from ...errors import LagoError, PrefixError
from ...host import shape
from ...host.files import json_text, sha256, synced_together, write_atomically
from ...hypervisor import accel
from ...paths import Paths
from ...plugins import machines
from ...templates.metadata import check_metadata
from ...templates.providers import EXTRAS, FileSystemTemplateProvider
from ...templates.repository import TemplateVersion
from ...templates.store import TemplateStore
from ...topology import state
from ...topology.model import Disk, Domain, TemplateImage, Topology
from .. import facts
from ..claims import Claims
from ..snapshots.index import Index, Layer, Snapshot, format_of
from . import about, description, hosts, shelf
from .about import SNAPSHOT
from .archive import Reader
from .packing import Begun

_LARGEST: Final = 4 << 40
"""Bytes of all files, holes included."""

_FILE: Final = rf"(?![.])[^/{shape.CONTROL}]{{1,200}}"
_INSIDE: Final = re.compile(
    rf"id_rsa|id_rsa\.pub|metadata|virt/(env|snapshots|net-{_FILE}|vm-{_FILE})"
    rf"|images/{_FILE}|snapshots/{_FILE}\.(mem|state|nvram)|logs/(saved/)?{_FILE}\.console\.log",
    re.DOTALL,
)
_DOCUMENTS: Final = ("id_rsa", "metadata", "virt/")
_TEMPLATE: Final = re.compile(rf"templates/([0-9]{{1,3}})((\.({'|'.join(EXTRAS)}))?)")

_HEX: Final = shape.text("[0-9a-f]{64}", "a SHA-256")
_IMAGE: Final = shape.record(
    {
        "format": shape.text("|".join(qemu_img.FORMATS), "raw or qcow2"),
        "over": shape.optional(lambda raw: shape.whole(raw) if isinstance(raw, int) else shape.text()(raw)),
    }
)
_HEAD: Final = shape.record(
    {
        "version": shape.whole,
        "name": shape.text(about.NAME, "the name of a capsule"),
        "about": about.read,
        "memory": shape.flag,
        "templates": shape.listing(
            shape.record(
                {
                    "id": shape.text(r"(?![.])[^:/]+:[^:/]+:[^:/]+", "the identity of an image", 200),
                    "path": shape.text(),
                    "format": shape.text("|".join(qemu_img.FORMATS), "raw or qcow2"),
                    "metadata": shape.mapping(shape.text(), lambda raw: raw),
                    "sha256": _HEX,
                    "extras": shape.mapping(shape.text("|".join(EXTRAS), "a kernel or an initrd"), _HEX),
                    "bundled": shape.flag,
                }
            )
        ),
        "images": shape.mapping(shape.text(), shape.mapping(shape.text(), _IMAGE)),
    }
)


class _Found(NamedTuple):
    """A template of an archive as it is in the store here, and where it was."""

    image: TemplateImage
    was: str


def import_(path: str, begun: Begun, *, name: str | None = None, memory: bool = True, restrict: bool = False) -> str:
    """Make a capsule of a file that `export` wrote, and return its name. It is there as a whole, or not at all.

    Args:
        path: of the file.
        begun: told of all bytes before the first is moved.
        name: of the capsule, which gets a number if it is taken; without it that which it had.
        memory: take the memory of machines, too.
        restrict: refuse what can only be taken from somebody who is trusted, which is memory.

    Raises:
        LagoError: it is no capsule or damaged, wants more of this host than a capsule may, its memory can't go on here,
            or a template is missing, which is named.
        OSError: something can't be read or written.
    """
    if name is not None and not re.fullmatch(about.NAME, name):
        raise LagoError(f"{name!r} can't be the name of a capsule", hint="use letters, digits, and . _ + - inside")
    with open(path, "rb") as file:
        reader = Reader(file, path)
        try:
            head = _HEAD(reader.head)
        except ValueError as error:
            raise reader.wrong(f"archive.json: {error}") from None
        if head["version"] != about.VERSION:
            raise reader.wrong(f"it is of version {head['version']}, and this Lago knows {about.VERSION}")
        has = memory and head["memory"] and any(file.endswith(".mem") for file in reader.files)
        if has and restrict:
            raise LagoError(
                f"{path} has the memory of machines, which is taken only from those whom one trusts",
                hint="leave it out: lago capsule import --without-memory; or leave out --restrict (setting restrict)",
            )
        _check_files(reader, head)
        if has:
            hosts.check(head["name"], head["about"].host, "lago capsule import --without-memory")
        store = templates.default_store()
        if any(not one["bundled"] for one in head["templates"]):
            _missing(store, head["templates"], path)
        with shelf.new(name or head["name"]) as (place, called), synced_together(place):
            names = called
            _unpack(reader, place, begun)
            found = [_template(store, one, place, number) for number, one in enumerate(head["templates"])]
            for environment in head["about"].environments:
                prefix = os.path.join(place, environment)
                _Environment(reader, prefix, head["images"].get(environment, {}), found, store).settle(memory=has)
            _remove_templates(place)
            about.save(place, head["about"]._replace(imported=True))
    shelf.prune()
    return names[0]


def _check_files(reader: Reader, head: Mapping[str, Any]) -> None:
    """Raise LagoError unless all files have names and sizes that they may have."""
    environments = head["about"].environments
    for name, size in reader.files.items():
        environment, _, inside = name.partition("/")
        template = _TEMPLATE.fullmatch(name)
        if template is not None:
            number = int(template[1])
            known = number < len(head["templates"]) and head["templates"][number]["bundled"]
            if not known or (template[4] and template[4] not in head["templates"][number]["extras"]):
                raise reader.wrong(f"{name} is a file of no template")
        elif environment not in environments or not _INSIDE.fullmatch(inside):
            raise reader.wrong(f"{name[:200]!r} can't be a file of a capsule")
        elif inside.startswith(_DOCUMENTS) and size > shape.MOST:
            raise reader.wrong(f"{name} is too large")
    if sum(reader.files.values()) > _LARGEST:
        raise reader.wrong(f"it has more than {_LARGEST >> 40} TiB")
    for environment in environments:
        for needed in ("id_rsa", "metadata", "virt/env", "virt/snapshots"):
            if f"{environment}/{needed}" not in reader.files:
                raise reader.wrong(f"{environment}/{needed} is missing")
    for number, one in enumerate(head["templates"]):
        if one["bundled"]:
            for file in (f"templates/{number}", *(f"templates/{number}.{extra}" for extra in one["extras"])):
                if file not in reader.files:
                    raise reader.wrong(f"{file} is missing")


def _unpack(reader: Reader, place: str, begun: Begun) -> None:
    def where(name: str) -> str:
        target = os.path.join(place, name)
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        return target

    reader.unpack(where, shelf.limit(), begun(sum(reader.files.values())))


def _same(store: TemplateStore, one: Mapping[str, Any]) -> str | None:
    """Identity of an image of the store that is the same as one of an archive."""
    candidates: list[str] = [one["id"], *(identity for identity in store.list() if identity != one["id"])]
    for identity in candidates:
        if not store.has(identity):
            continue
        try:
            same = store.digest(identity) == one["sha256"] and store.image(identity).format == one["format"]
        except LagoError:
            continue
        beside = f"{store.path}/{identity}"
        if same and all(
            os.path.isfile(f"{beside}.{extra}") and sha256(f"{beside}.{extra}") == digest
            for extra, digest in one["extras"].items()
        ):
            return identity
    return None


def _missing(store: TemplateStore, wanted: list[Mapping[str, Any]], path: str) -> None:
    """Raise LagoError if a template is not here, before anything is done."""
    absent = [one for one in wanted if not one["bundled"] and _same(store, one) is None]
    if absent:
        first = absent[0]["id"]
        _, template, version = first.split(":")
        other = "another image of that name is" if store.has(first) else "it is not"
        raise LagoError(
            f"{path} needs the template {first}, and {other} in the store {store.path}",
            details="\n".join(f"{one['id']}: SHA-256 {one['sha256']}" for one in absent),
            hint=f"get it: lago template fetch {template}:{version.partition('-')[0]}; or bring the image from where "
            "the capsule was exported; or export that by lago capsule export --standalone",
        )


def _template(store: TemplateStore, one: Mapping[str, Any], place: str, number: int) -> _Found:
    """Find a template in the store, or take it there."""
    if (identity := _same(store, one)) is None:
        identity = _take(store, one, os.path.join(place, "templates"), number)
    return _Found(store.image(identity), one["path"])


def _take(store: TemplateStore, one: Mapping[str, Any], directory: str, number: int) -> str:
    """Take a template of an archive into the store, by a name that no init file means."""
    _, name, _ = one["id"].split(":")
    if not re.fullmatch(about.NAME, name):
        raise LagoError(f"{name!r} can't be the name of a template", hint="export the capsule again")
    # The digest is in the name, as others may have put another image there.
    extras = "".join(one["extras"][extra] for extra in sorted(one["extras"]))
    mark = f"{one['sha256'][:16]}{extras[:8]}"
    identity = f"capsule:{name}:{mark}"
    image = os.path.join(directory, str(number))
    if sha256(image) != one["sha256"] or any(
        sha256(f"{image}.{extra}") != digest for extra, digest in one["extras"].items()
    ):
        raise LagoError(f"the template {one['id']} in the capsule is not what it says", hint="export the capsule again")
    qemu_img.accept(image, f"the template {one['id']} of the capsule", formats=(one["format"],), format=one["format"])
    metadata = check_metadata(one["metadata"], one["id"], "export the capsule again")
    write_atomically(f"{image}.metadata", json_text({**metadata, "format": one["format"]}))
    write_atomically(f"{image}.hash", f"{one['sha256']}\n")
    if not store.has(identity):
        store.download(TemplateVersion(identity, FileSystemTemplateProvider(directory), str(number), 0))
    if store.digest(identity) != one["sha256"]:
        raise LagoError(f"the store has another image {identity}", hint=f"lago template rm {identity}")
    return identity


def _remove_templates(place: str) -> None:
    directory = os.path.join(place, "templates")
    if os.path.isdir(directory):
        for file in os.listdir(directory):
            os.unlink(os.path.join(directory, file))
        os.rmdir(directory)


class _Environment:
    """An environment that was unpacked, and is to be one that can be obeyed."""

    def __init__(
        self,
        reader: Reader,
        path: str,
        images: Mapping[str, Mapping[str, Any]],
        found: list[_Found],
        store: TemplateStore,
    ) -> None:
        self._reader = reader
        self._paths = Paths(path)
        self._images = images
        self._found = found
        self._store = store
        inside = os.path.basename(path)
        self._files = {name.partition("/")[2] for name in reader.files if name.startswith(f"{inside}/")}

    def _wrong(self, why: str) -> LagoError:
        return self._reader.wrong(f"{os.path.basename(self._paths.prefix())}: {why}")

    def settle(self, *, memory: bool) -> None:
        """Check all that it says, and write it again as it is here."""
        paths = self._paths
        for directory in (paths.images(), paths.logs(), paths.snapshots(), paths.saved_consoles(), paths.virt()):
            os.makedirs(directory, 0o755, exist_ok=True)
        try:
            then, index, described = facts.load(paths), Index.load(paths), state.load(paths)
        except PrefixError as error:
            raise self._wrong(f"{error.what}: {error.details}") from None
        uuid = str(then.get("libvirt_uuid", ""))
        if not re.fullmatch("[0-9a-f]{32}", uuid):
            raise self._wrong("it has no libvirt_uuid")
        if list(index.snapshots) != [SNAPSHOT]:
            raise self._wrong(f"it has other snapshots than {SNAPSHOT}")
        topology = self._topology(described)
        snapshot = self._snapshot(index.get(SNAPSHOT), topology, memory=memory)
        settled = self._index(snapshot, topology, index._serial)
        self._lay_images()
        facts.save(paths, {"libvirt_url": PRIVATE, "libvirt_uuid": uuid, "template_store": self._store.path})
        # The files as they came must not be read again by any reader of another shape.
        state.save(paths, topology)
        settled.save(paths)
        for vm, saved in snapshot.vms.items():
            if saved.state:
                self._describe(uuid, vm, os.path.join(paths.prefix(), saved.state), topology)
        for path in self._files:
            mode = 0o600 if path == "id_rsa" else 0o444 if path.endswith((".mem", ".state")) else 0o644
            if os.path.exists(os.path.join(paths.prefix(), path)):
                os.chmod(os.path.join(paths.prefix(), path), mode)
        write_atomically(paths.uuid(), os.urandom(16).hex())
        Claims(paths).hold_images(topology, paths.prefix())
        write_atomically(paths.prefix_lagofile(), "")

    def _topology(self, topology: Topology) -> Topology:
        for net in topology.nets.values():
            if net.type == "bridge":
                raise self._wrong(f"the net {net.name} is a bridge of a host")
        return replace(topology, domains={name: self._domain(name, one) for name, one in topology.domains.items()})

    def _domain(self, name: str, domain: Domain) -> Domain:
        if domain.name != name:
            raise self._wrong(f"the machine {name} is called otherwise")
        if domain.shares:
            raise self._wrong(f"{name} shares directories of a host")
        if domain.vm_provider and not machines.is_own(domain.vm_provider):
            raise self._wrong(f"a plugin runs {name}")
        metadata = {key: value for key, value in domain.metadata.items() if key not in (DEPLOY_SCRIPTS, OVIRT_SCRIPTS)}
        return replace(domain, metadata=metadata, disks=tuple(self._disk(name, disk) for disk in domain.disks))

    def _disk(self, vm: str, disk: Disk) -> Disk:
        """A disk that is a file of the environment, and knows of no other of this host."""
        if not re.fullmatch(f"images/{_FILE}", disk.path, re.DOTALL):
            raise self._wrong(f"the disk {disk.name} of {vm} is not its own")
        if disk.format == "iso" and disk.path not in self._files:
            raise self._wrong(f"{disk.path} is missing")
        template = None
        if disk.template is not None:
            path = disk.template.path
            template = next((one.image for one in self._found if one.was in (path, os.path.realpath(path))), None)
            if template is None:
                raise self._wrong(f"the disk {disk.name} of {vm} is of a template that is not told of")
        metadata = {key: value for key, value in disk.metadata.items() if key not in EXTRAS}
        return replace(disk, template=template, source=None, metadata=metadata, build=())

    def _snapshot(self, then: Snapshot, topology: Topology, *, memory: bool) -> Snapshot:
        vms = {}
        if set(then.vms) != set(topology.domains):
            raise self._wrong("its snapshot is of other machines")
        for vm, saved in then.vms.items():
            if set(saved.disks) != {disk.name for disk in topology.domains[vm].writable()}:
                raise self._wrong(f"the snapshot has other disks of {vm}")
            if not memory:
                for path in (saved.memory, saved.state):
                    if path in self._files and path:
                        os.unlink(os.path.join(self._paths.prefix(), path))
                saved = saved._replace(memory=None, state=None, whole="")
            if bool(saved.memory) != bool(saved.state):
                raise self._wrong(f"the memory of {vm} is not in two files")
            ends = {"memory": ".mem", "state": ".state", "nvram": ".nvram"}
            for key, end in ends.items():
                path = getattr(saved, key)
                if path and not (path in self._files and path.startswith("snapshots/") and path.endswith(end)):
                    raise self._wrong(f"{path} can't be the {key} of {vm}")
            if saved.console not in self._files or not str(saved.console).startswith("logs/saved/"):
                saved = saved._replace(console=None)
            vms[vm] = saved
        return then._replace(vms=vms, parent=None, faults=then.faults if memory else ())

    def _index(self, snapshot: Snapshot, topology: Topology, serial: int) -> Index:
        """Return the index that follows from the snapshot and the images."""
        index = Index()
        for path, image in self._images.items():
            over = image["over"]
            if path not in self._files or not path.startswith("images/"):
                raise self._wrong(f"the image {path} is missing")
            if over is not None and image["format"] != "qcow2":
                raise self._wrong(f"{path} is raw, and lies over nothing")
            if isinstance(over, str):
                if over not in self._images:
                    raise self._wrong(f"{path} lies over {over}, which is not there")
                index.layers[path] = Layer(over, self._images[over]["format"])
            elif over is not None and over >= len(self._found):
                raise self._wrong(f"{path} lies over a template that is not told of")
        for vm, saved in snapshot.vms.items():
            for disk in topology.domains[vm].writable():
                self._check_chain(index, saved.disks[disk.name], disk)
        index.snapshots = {SNAPSHOT: snapshot}
        index.current = SNAPSHOT
        index.tops = {vm: dict(saved.disks) for vm, saved in snapshot.vms.items()}
        index._serial = serial
        return index

    def _check_chain(self, index: Index, top: str, disk: Disk) -> None:
        seen = [top]
        while seen[-1] in index.layers:
            below = index.layers[seen[-1]].backing
            if below in seen:
                raise self._wrong(f"{below} lies over itself")
            seen.append(below)
        for path in seen:
            if path not in self._images:
                raise self._wrong(f"the image {path} of the disk {disk.name} is missing")
            if format_of(index, path, disk) != self._images[path]["format"]:
                raise self._wrong(f"the image {path} has two formats")

    def _lay_images(self) -> None:
        """Check images, and lay each over what is here. What an image says itself of others is not asked for."""
        for path, image in self._images.items():
            full, over, format = os.path.join(self._paths.prefix(), path), image["over"], image["format"]
            qemu_img.accept(
                full, f"the image {path} of the capsule", formats=(format,), format=format, over_others=True
            )
            if format != "qcow2":
                continue
            if over is None:
                if qemu_img.below(full) is not None:
                    raise self._wrong(f"{path} lies over an image that is not told of")
            elif isinstance(over, str):
                qemu_img.lay_over(full, os.path.relpath(over, "images"), self._images[over]["format"])
            else:
                template = self._found[over].image
                qemu_img.lay_over(full, template.path, template.format)

    def _describe(self, uuid: str, vm: str, path: str, topology: Topology) -> None:
        """Rewrite what libvirt is told of a machine, so that nothing in it is of another host."""
        files = {
            f"{one.was}.{extra}": f"{one.image.path}.{extra}"
            for one in self._found
            for extra in EXTRAS
            if extra in one.image.metadata
        }
        try:
            description.rewrite(path, uuid, topology.domains[vm], self._paths, files, accel.QEMU)
        except ValueError as error:
            raise self._wrong(f"the machine {vm} in memory: {error}") from None
