"""What decides what comes of an init file, made into a name: two environments of one name come up as the same.

That is what the init file says and what is decided of it, the contents of all files that it names, what runs machines
here, and the processor that they run on. What is new in every environment, its keys and the addresses of its nics, is
no part of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from .. import config, version
from ..disks import qemu_img
from ..host import shape
from ..host.files import json_text, write_atomically
from ..host.programs import run
from ..templates import default_store
from ..templates.providers import EXTRAS
from ..topology import state
from . import deploy

if TYPE_CHECKING:
    from ..topology.model import Disk, Domain
    from .prefix import Prefix

_PROGRAMS: Final = ("qemu-system-x86_64", "libvirtd")
_CPUINFO: Final = "/proc/cpuinfo"
_PROCESSOR: Final = re.compile(r"^(vendor_id|model name|flags)\s*:\s*(.*)$", re.MULTILINE)
_LARGE: Final = 1 << 24
"""Bytes of a file whose digest is kept."""


def of(init_file: str, prefix: Prefix) -> str:
    """Return the name of an environment: 32 hexadecimal digits.

    Args:
        init_file: what it was made of.
        prefix: the environment, not started yet.

    Raises:
        DiskError: an image can't be read.
        OSError: another file can't be read.
    """
    known = _Known()
    digest = hashlib.sha256()
    for text in _parts(init_file, prefix, known):
        data = text.encode(errors="surrogateescape")
        digest.update(len(data).to_bytes(8, "big") + data)
    known.save()
    return digest.hexdigest()[:32]


def _parts(init_file: str, prefix: Prefix, known: _Known) -> Iterator[str]:
    directory = os.path.dirname(os.path.abspath(init_file))
    yield known.digest(init_file)
    for domain in prefix.topology.domains.values():
        yield _decided(domain, (prefix.paths.prefix(), directory))
        for disk in domain.disks:
            for path in _images(disk):
                yield _image(path, known)
            for path in sorted(_named(disk.build, directory)):
                yield from _contents(path, known)
        for script in deploy.scripts(domain, prefix.paths, prefix.SCRIPTS):
            yield known.digest(script)
    yield version.installed()
    yield from (run([program, "--version"], check=False).text for program in _PROGRAMS)
    yield prefix.virt_env.accel.kind
    yield processor()


def _decided(domain: Domain, places: Iterable[str]) -> str:
    """What is decided of a machine, but for its nics, and wherever the environment and its init file are."""
    described = state.vm_to_json(domain)
    described["metadata"] = {key: value for key, value in domain.metadata.items() if key not in deploy.KEYS}
    text = json.dumps({key: value for key, value in described.items() if key != "nics"}, sort_keys=True)
    for place in places:
        text = text.replace(json.dumps(place)[1:-1], "")
    return text


def _images(disk: Disk) -> Iterator[str]:
    """The files that a disk is made of, as far as they are on this host, and what its machine boots from."""
    if disk.template is not None:
        yield from qemu_img.chain(disk.template.path, disk.template.format)
        yield from (disk.template.metadata[extra] for extra in EXTRAS if extra in disk.template.metadata)
    elif disk.type == "file" and "://" not in (path := disk.source or disk.path):
        yield from qemu_img.chain(path, disk.image_format)


def _image(path: str, known: _Known) -> str:
    """What is in an image; of one in the store that is written down."""
    store = default_store()
    image = store.image_at(os.path.realpath(path))
    return f"{image.id} {store.digest(image.id)}" if image else known.digest(path)


def _named(steps: Iterable[Mapping[str, Mapping[str, Iterable[str]]]], directory: str) -> set[str]:
    """The files and directories of this host that builders may read.

    Which part of an option is a path depends on the option, as in `upload: a:/b` and `password: root:file:a`, so each
    part is taken for one that is the name of something here. A file of commands has such parts too.
    """
    words = [
        (name, value) for step in steps for options in step.values() for name in options for value in options[name]
    ]
    found = set()
    for name, value in words:
        parts = {value, *value.split(":")}
        if name == "commands-from-file" and os.path.isfile(file := os.path.join(directory, value)):
            with open(file, encoding="utf-8", errors="surrogateescape") as lines:
                parts |= set(re.split(r"[\s:]+", lines.read()))
        found |= {os.path.join(directory, part) for part in parts if part not in ("", os.sep)}
    return {path for path in found if os.path.isfile(path) or os.path.isdir(path)}


def _contents(path: str, known: _Known) -> Iterator[str]:
    """What is in a file, or in all those of a directory."""
    if os.path.isfile(path):
        yield f"{os.stat(path).st_mode:o} {known.digest(path)}"
        return
    for place, directories, names in os.walk(path):
        directories.sort()
        for name in sorted(names):
            file = os.path.join(place, name)
            yield os.path.relpath(file, path)
            if os.path.islink(file):
                yield os.readlink(file)
            elif os.path.isfile(file):
                yield from _contents(file, known)


def processor() -> str:
    """Model and features of the processor of this host."""
    with open(_CPUINFO, encoding="utf-8", errors="replace") as file:
        first = file.read().partition("\n\n")[0]
    return "\n".join(f"{name} {value}" for name, value in _PROCESSOR.findall(first))


class _Known:
    """Digests of files; those of large ones are kept, with what tells that a file has changed since."""

    def __init__(self) -> None:
        self._path = os.path.join(config.cache_home(), "digests.json")
        self._used: dict[str, list[Any]] = {}
        try:
            with open(self._path, encoding="utf-8") as file:
                self._kept: dict[str, list[Any]] = dict(shape.parse(file.read(shape.MOST)))
        except (OSError, ValueError, TypeError):
            self._kept = {}

    def digest(self, path: str) -> str:
        """SHA-256 of what is in a file. Raises OSError."""
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            mark = [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
            kept = self._kept.get(os.path.realpath(path))
            if isinstance(kept, list) and kept[:-1] == mark:
                return str(kept[-1])
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if found.st_size >= _LARGE:
            self._used[os.path.realpath(path)] = [*mark, digest]
        return digest

    def save(self) -> None:
        """Keep what is new, and forget files that are gone."""
        if self._used:
            there = {path: kept for path, kept in self._kept.items() if os.path.exists(path)}
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            write_atomically(self._path, json_text({**there, **self._used}))
