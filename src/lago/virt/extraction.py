"""Files out of a machine: over ssh, or out of its disks if it is down or does not answer."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from .. import config
from ..disks import qemu_img
from ..errors import ExtractPathError, HypervisorError, LagoError, SSHError, VMError
from ..guest import transfer
from ..guestfs import extract as offline
from ..log import LOG, task
from . import checkpoint

if TYPE_CHECKING:
    from .vm import VM

_PATIENCE: Final = 10
"""Seconds for a machine to show that it answers, if config ssh_timeout does not say."""

Wanted = list[tuple[str, dict[str, str]]]
"""Directories of this host, and for each by path on the guest the name to get there."""


def extract(vm: VM, paths: Iterable[tuple[str, str]]) -> list[str]:
    """Copy files and trees of a machine to paths of this host, each as a whole or not at all.

    Args:
        paths: on the machine, and where each goes.

    Returns:
        The paths that are not there on the machine.

    Raises:
        ExtractPathError: they can't be had, neither over ssh nor out of its disks.
    """
    wanted = _by_directory(paths)
    if not wanted:
        return []
    why = f"it is {vm.state()}"
    if vm.state() == "running":
        try:
            _check_answers(vm)
            return [path for directory, names in wanted for path in transfer.fetch(vm.guest, names, directory)]
        except (SSHError, HypervisorError) as error:
            why = error.render()
            LOG.warning("%s does not answer ssh, its files are taken out of its disks", vm.name())
            LOG.debug("%s", why)
            vm.guest.close()
        except LagoError as error:
            raise ExtractPathError(error.what, details=error.details, hint=error.hint) from None
    what = f"{vm.name()}: its files can't be taken out of its disks"
    try:
        with task(f"Read the disks of {vm.name()}"), _still(vm) as images:
            return offline.fetch(images, wanted, root=vm.spec.image.get("root-partition", "root"), what=what)
    except LagoError as error:
        raise ExtractPathError(error.what, details=f"{error.details}\n{why}".strip(), hint=error.hint) from None


def _by_directory(paths: Iterable[tuple[str, str]]) -> Wanted:
    """The paths in batches, such that in each there is one directory to copy to, and a path once."""
    wanted: Wanted = []
    for guest, host in paths:
        directory, name = os.path.split(os.path.abspath(host))
        names = next((names for place, names in wanted if place == directory and guest not in names), None)
        if names is None:
            wanted.append((directory, names := {}))
        names[guest] = name
    return wanted


def _check_answers(vm: VM) -> None:
    """Raise SSHError unless a machine runs commands over ssh, and soon."""
    timeout = (config.get("ssh_timeout") or _PATIENCE) * vm.env.accel.time_factor
    if vm.spec.ip is None:
        raise SSHError(f"{vm.name()} has no address on a management net")
    vm.guest.open(timeout)
    try:
        status = vm.guest.run("true", timeout=timeout)
    except VMError as error:
        raise SSHError(error.what) from None
    if status:
        raise SSHError(f"{vm.name()} does not run commands", details=status.error_text)


@contextlib.contextmanager
def _still(vm: VM) -> Iterator[list[tuple[str, str]]]:
    """The disks of a machine as images that nobody writes to, each with its format.

    Those of a machine that runs are copied while it stands still; only what is over its template is. Paused, QEMU has
    written out all that the guest did; what the guest itself has not written yet is not there, as after a power
    failure. The copies lie beside their originals, which call others by relative paths, and have names of layers, so
    that those of a Lago that was killed are removed as layers are.
    """
    paths = vm.env.paths
    writable = vm.spec.writable()
    if not vm.alive():
        yield [(os.path.join(paths.prefix(), disk.path), disk.format) for disk in writable]
        return
    live = checkpoint.live_tops(vm)
    copies = {disk.dev: paths.images(f"{vm.name()}_{disk.name}.copy.{disk.format}") for disk in writable}
    try:
        paused = checkpoint.pause(vm)
        try:
            for dev, copy in copies.items():
                qemu_img.copy(live[dev], copy)
        finally:
            if paused:
                checkpoint.resume(vm)
        yield [(copies[disk.dev], disk.format) for disk in writable]
    finally:
        for copy in copies.values():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(copy)
