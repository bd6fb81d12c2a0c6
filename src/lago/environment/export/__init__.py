"""Machines that are down, as files from which they can be made again elsewhere: images, and an init file over them.

An image of an export looks like one of the template store: beside it are `.hash`, `.metadata` and, for machines that
boot without a boot loader, `.kernel`, `.kernel-efi` and `.initrd`. Everything is written into a directory whose name
begins with a dot and named at the end, the init file last: where there is an init file, all it needs is there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from ...errors import LagoError, LockTimeout, VMError
from ...host.files import PUBLIC, write_atomically
from ...host.locks import lock_file
from ...host.parallel import in_parallel
from ...log import task
from ...topology.model import Domain
from .images import Image, plan, write, write_extras
from .initfile import text

if TYPE_CHECKING:
    from ...virt import VirtEnv

_UNFINISHED: Final = ".lago-export-"
_LOCK: Final = ".lock"


def sources(domains: Iterable[Domain], prefix: str) -> dict[str, Any]:
    """Paths of the files that the disks of machines are now, by machine."""
    return {domain.name: [os.path.join(prefix, one.disk.path) for one in plan([domain])] for domain in domains}


def select(domains: Iterable[Domain]) -> list[Domain]:
    """Those of some machines that don't say `skip-export`. Raises LagoError if none is left."""
    left = [domain for domain in domains if not domain.skip_export]
    if not left:
        raise LagoError("there is no machine to export, all say skip-export", hint="remove skip-export from one")
    return left


def export(
    env: VirtEnv,
    domains: Sequence[Domain],
    directory: str,
    *,
    standalone: bool,
    compress: bool,
    init_file_name: str,
    out_format: str,
    threads: bool,
) -> dict[str, Any]:
    """Write machines into `directory`, which is made if need be; the files by machine, and `init-file`.

    Args:
        standalone: write disks as a whole; otherwise what they add to their template, which is needed elsewhere too.
        compress: pack the images; they are used as they are, without unpacking.
        out_format: of the init file, `yaml` or `json`.
        threads: all disks side by side.

    Raises:
        VMError: a machine is not down.
        LagoError: one of the files is there already, or can't be written.
    """
    states = env.states()
    for domain in domains:
        if states[domain.name] != "down":
            raise VMError(
                f"{domain.name} can't be exported, it is {states[domain.name]}", hint=f"lago stop {domain.name}"
            )
    if os.path.basename(init_file_name) != init_file_name or init_file_name in ("", ".", ".."):
        raise LagoError(f"{init_file_name!r} can't be the name of an init file", hint="give its directory by --dst-dir")
    vms = {domain.name: env.get_vm(domain.name) for domain in domains}
    provided = {name: vm.provider for name, vm in vms.items() if vm.provider is not None}
    images = plan([domain for domain in domains if domain.name not in provided], compress=compress)
    with _place(directory, [*(image.name for image in images), init_file_name]) as place:
        source = env.paths.prefix()

        def one(image: Image) -> None:
            with task(f"Export {image.name}"):
                write(image, source, place, standalone=standalone, compress=compress)

        for batch in [images] if threads else [[image] for image in images]:
            in_parallel(one, batch, what="export disks")
        write_extras(images, place)
        theirs = {
            name: provider.export_disks(place, standalone=standalone, compress=compress)
            for name, provider in provided.items()
        }
        nets = [net.spec for net in env.get_nets().values()]
        write_atomically(os.path.join(place, init_file_name), text(domains, nets, images, out_format), PUBLIC)
    names = {d.name: [i.name for i in images if i.vm == d.name] + theirs.get(d.name, []) for d in domains}
    files = {name: [os.path.join(directory, file) for file in found] for name, found in names.items()}
    return {**files, "init-file": os.path.join(directory, init_file_name)}


@contextlib.contextmanager
def _place(directory: str, names: Sequence[str]) -> Iterator[str]:
    """Context manager: a directory whose files become those of `directory` if all goes well, in order of `names`.

    If not, nothing is left.

    Raises:
        LagoError: something of such a name is there already.
    """
    if os.path.isdir(directory):
        _sweep(directory)
    for name in names:
        _check_new(directory, name)
    with contextlib.ExitStack() as undo:
        if not os.path.isdir(directory):
            os.mkdir(directory)
            undo.callback(_remove_empty, directory)
        place = os.path.join(directory, _UNFINISHED + os.urandom(4).hex())
        os.mkdir(place)
        undo.callback(shutil.rmtree, place, ignore_errors=True)
        with lock_file(os.path.join(place, _LOCK), what=place, timeout=0):
            yield place
            others = [name for name in os.listdir(place) if name not in (*names, _LOCK)]
            for name in others:
                _check_new(directory, name)
            try:
                for name in (*others, *names):
                    _put(os.path.join(place, name), os.path.join(directory, name))
            except BaseException:
                _take_back(place, directory)
                raise


def _put(source: str, target: str) -> None:
    """Give a file its name. It keeps the one it has where that can be, so that who comes later knows whose it is."""
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        os.rename(source, target)


def _take_back(place: str, directory: str) -> None:
    """Remove what of an unfinished export has its name already."""
    for name in os.listdir(place):
        target = os.path.join(directory, name)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.lstat(os.path.join(place, name)), os.lstat(target)):
                os.unlink(target)


def _check_new(directory: str, name: str) -> None:
    if os.path.lexists(os.path.join(directory, name)):
        raise LagoError(f"{os.path.join(directory, name)} exists already", hint="export to another directory")


def _remove_empty(directory: str) -> None:
    with contextlib.suppress(OSError):
        os.rmdir(directory)


def _sweep(directory: str) -> None:
    """Remove what exports left that were killed."""
    for name in os.listdir(directory):
        if name.startswith(_UNFINISHED):
            path = os.path.join(directory, name)
            with contextlib.suppress(LockTimeout, OSError), lock_file(os.path.join(path, _LOCK), what=path, timeout=0):
                if not all(os.path.lexists(os.path.join(directory, one)) for one in os.listdir(path) if one != _LOCK):
                    _take_back(path, directory)
                shutil.rmtree(path)
