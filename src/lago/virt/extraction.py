"""Files out of a machine: over ssh, or out of its disks if it is down or does not answer."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import libvirt

from .. import config
from ..disks import qemu_img
from ..errors import CommandError, ExtractPathError, HypervisorError, LagoError, SSHError, VMError
from ..guest import transfer
from ..guestfs import extract as offline
from ..host.programs import run
from ..log import LOG, task
from . import checkpoint, clock
from .machine import Machine
from .session import STATES

_PAUSED: Final = STATES[libvirt.VIR_DOMAIN_PAUSED]
_LONGEST: Final = 60
"""Seconds that a command may take whose output is saved, times 5 when emulated."""
_PATIENCE: Final = 10
"""Seconds for a machine to show that it answers, if config ssh_timeout does not say."""

Wanted = list[tuple[str, dict[str, str]]]
"""Directories of this host, and for each by path on the guest the name to get there."""

Path = tuple[str, str]
"""A path on a machine, and where it goes on this host."""


def extract(
    machine: Machine, paths: Iterable[Path], otherwise: Callable[[Sequence[Path], str], list[str]], then: str
) -> list[str]:
    """Copy files and trees of a machine to paths of this host over ssh, each as a whole or not at all.

    Args:
        paths: on the machine, and where each goes.
        otherwise: gets them if it is down or does not answer; it is told why.
        then: what is done in that case, in words.

    Returns:
        The paths that are not there on the machine.

    Raises:
        ExtractPathError: they can't be had.
    """
    paths = list(paths)
    if not paths:
        return []
    why = f"it is {machine.state()}"
    if machine.state() == "running":
        try:
            _check_answers(machine)
            wanted = _by_directory(paths)
            return [path for directory, names in wanted for path in transfer.fetch(machine.guest, names, directory)]
        except (SSHError, HypervisorError) as error:
            why = error.render()
            LOG.warning("%s does not answer ssh, %s", machine.name(), then)
            LOG.debug("%s", why)
            machine.guest.close()
        except LagoError as error:
            raise ExtractPathError(error.what, details=error.details, hint=error.hint) from None
    return otherwise(paths, why)


def save_outputs(machine: Machine, commands: Mapping[str, str], paths: Mapping[str, str]) -> dict[str, str]:
    """Write what commands say on a machine, errors too, to files of this host, one after the other.

    Args:
        commands: texts for a shell, by name.
        paths: the files, by the same names.

    Returns:
        Why commands failed, or could not be run, by name.
    """
    if not commands:
        return {}
    try:
        if not machine.alive() or machine.state() == _PAUSED:
            return dict.fromkeys(commands, f"it is {machine.state()}")
        _check_answers(machine)
    except LagoError as error:
        return dict.fromkeys(commands, str(error))
    failed = {}
    for name, command in commands.items():
        if why := _save_output(machine, command, paths[name]):
            failed[name] = why
    return failed


def _save_output(machine: Machine, command: str, path: str) -> str:
    """Why a command failed; empty if it did not."""
    seconds = _LONGEST * machine.time_factor

    def attempt(argv: list[str]) -> int:
        return run(argv, output=path, check=False, timeout=seconds).code

    try:
        code = machine.guest.session(f"{shlex.join(['sh', '-c', command])} 2>&1", attempt)
        machine.guest.check(code)
    except CommandError:
        return f"it did not end within {seconds:g} s"
    except LagoError as error:
        return str(error)
    return f"it ended with status {code}" if code else ""


def from_disks(machine: Machine, paths: Iterable[Path], why: str) -> list[str]:
    """Copy files and trees out of a machine's disks; paths that are not there.

    Args:
        why: they are not had over ssh.

    Raises:
        ExtractPathError: they can't be had.
    """
    wanted = _by_directory(paths)
    what = f"{machine.name()}: its files can't be taken out of its disks"
    try:
        with task(f"Read the disks of {machine.name()}"), _still(machine) as images:
            return offline.fetch(images, wanted, root=machine.spec.image.get("root-partition", "root"), what=what)
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


def _check_answers(machine: Machine) -> None:
    """Raise SSHError unless a machine runs commands over ssh, and soon."""
    timeout = (config.get("ssh_timeout") or _PATIENCE) * machine.time_factor
    if not machine.guest.address:
        raise SSHError(f"{machine.name()} has no address on a management net")
    machine.guest.open(timeout)
    try:
        status = machine.guest.run("true", timeout=timeout)
    except VMError as error:
        raise SSHError(error.what) from None
    if status:
        raise SSHError(f"{machine.name()} does not run commands", details=status.error_text)


@contextlib.contextmanager
def _still(machine: Machine) -> Iterator[list[tuple[str, str]]]:
    """Context manager: the disks of a machine as images that nobody writes to, each with its format.

    Those of a machine that runs are copied while it stands still; only what is over its template is. Paused, QEMU has
    written out all that the guest did; what the guest itself has not written yet is not there, as after a power
    failure. The copies lie beside their originals, which call others by relative paths, and have names of layers, so
    that those of a Lago that was killed are removed as layers are.
    """
    paths = machine.env.paths
    writable = machine.spec.writable()
    if not machine.alive():
        yield [(os.path.join(paths.prefix(), disk.path), disk.format) for disk in writable]
        return
    live = checkpoint.live_tops(machine)
    copies = {disk.dev: paths.images(f"{machine.name()}_{disk.name}.copy.{disk.format}") for disk in writable}
    try:
        paused = checkpoint.pause(machine)
        try:
            for dev, copy in copies.items():
                qemu_img.copy(live[dev], copy)
        finally:
            if paused:
                checkpoint.resume(machine)
                clock.put_right(machine)
        yield [(copies[disk.dev], disk.format) for disk in writable]
    finally:
        for copy in copies.values():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(copy)
