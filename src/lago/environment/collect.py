"""Artifacts of machines, and their logs, in a directory for each: `<output>/<vm>/<path with _ in place of />`."""

from __future__ import annotations

import contextlib
import functools
import os
import posixpath
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..constants import COLLECTED_LOGS
from ..errors import ExtractPathError, ExtractPathNoPathError
from ..guest import unpacking
from ..host import long_logs
from ..host.parallel import in_parallel
from ..log import LOG
from ..paths import Paths
from .snapshots.index import Index

if TYPE_CHECKING:
    from ..virt import VM, VirtEnv


def collect(env: VirtEnv, output: str, *, ignore_nopath: bool) -> dict[str, Any]:
    """Copy the `artifacts` of all machines to `output`, side by side, with console logs and those of QEMU and Lago.

    The output of the `artifact-commands` of machines that answer is there too.

    What is at `output` already is renamed to `<output>.<date>_<time>`. Whatever fails, what was had is there.

    Args:
        ignore_nopath: leave out what is not there on a machine, and take commands that fail as they are.

    Returns:
        By machine the files and directories that are there now, the paths that are missing, and why commands failed.

    Raises:
        LagoError: `output` can't be made.
        ExtractPathError: files of a machine can't be had, or a command failed, and that is not to be ignored.
        ExtractPathNoPathError: something is not there on a machine, and that is not to be ignored.
    """
    output = os.path.abspath(output)
    here = functools.partial(unpacking.on_this_host, f"artifacts can't be collected to {output}")
    found: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        with here():
            os.makedirs(os.path.dirname(output), exist_ok=True)
            place = os.path.join(stack.enter_context(unpacking.stage(os.path.dirname(output))), "output")
            os.mkdir(place)
            _copy_logs({"lago.log": env.paths.logs("lago.log")}, place)

        def one(vm: VM) -> None:
            directory = os.path.join(place, vm.name())
            console = vm.console_log()
            logs = dict(zip(COLLECTED_LOGS, (console, f"{console}.old", vm.qemu_log()), strict=True))
            with here():
                os.mkdir(directory)
                _copy_logs(logs, directory)
            # First, as they may hold what is wrong: a disk that is read takes its time.
            failed = vm.save_outputs({name: os.path.join(directory, name) for name in vm.artifact_commands()})
            names = flat_names(vm.artifacts())
            missing = vm.extract(((path, os.path.join(directory, name)) for path, name in names.items()))
            found[vm.name()] = {
                "files": [os.path.join(output, vm.name(), name) for name in sorted(os.listdir(directory))],
                "missing": missing,
                "failed": failed,
            }
            for path in missing:
                LOG.info("%s: %s is not there", vm.name(), path)
            for name, why in failed.items():
                LOG.info("%s: %s: %s", vm.name(), name, why)

        try:
            with _recoverable(env.paths):
                in_parallel(one, env.get_vms().values(), what="collect", cancel=env.cancelled.set)
        finally:
            with here():
                _publish(place, output)
    if not ignore_nopath:
        _complain(found, output)
    return found


def _complain(found: Mapping[str, Any], output: str) -> None:
    """Raise an error if something is missing, or failed."""
    lost = [f"{name}: {path}" for name, one in sorted(found.items()) for path in one["missing"]]
    failed = [f"{vm}: {name}: {why}" for vm, one in sorted(found.items()) for name, why in one["failed"].items()]
    details, hint = "\n".join(lost + failed), f"all others are in {output}"
    if lost:
        raise ExtractPathNoPathError("some artifacts are not there", details=details, hint=hint)
    if failed:
        raise ExtractPathError("some artifact-commands failed", details=details, hint=hint)


@contextlib.contextmanager
def _recoverable(paths: Paths) -> Iterator[None]:
    """Context manager: if we are killed, the next command lets machines go on and removes the copies of their disks."""

    def busy(is_busy: bool) -> None:
        index = Index.load(paths)
        index.busy = is_busy
        index.save(paths)

    busy(True)
    try:
        yield
    finally:
        busy(False)


def flat_names(paths: Iterable[str]) -> dict[str, str]:
    """By path on a guest the name that its copy gets; each once."""
    names: dict[str, str] = {}
    for path in paths:
        name = posixpath.normpath(path).replace("/", "_")
        if name in (".", ".."):
            name = f"_{name}"
        while name in names.values():
            name += "_"
        names[path] = name
    return names


def _copy_logs(logs: Mapping[str, str | None], directory: str) -> None:
    for name, path in logs.items():
        if path and os.path.exists(path):
            long_logs.copy(path, os.path.join(directory, name))


def _publish(place: str, output: str) -> None:
    if os.path.lexists(output):
        former = f"{output}.{time.strftime('%Y-%m-%d_%H:%M:%S')}"
        while os.path.lexists(former):
            former += "_"
        os.rename(output, former)
    os.rename(place, output)
