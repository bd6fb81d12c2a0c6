"""Deploy scripts: `deploy-scripts` in the metadata of a machine, run on it by `lago deploy`.

`ovirt-scripts` are the same for `lago ovirt deploy`. When an environment is made its scripts are copied into it, so
that it can be moved, and deployed again, as it was.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ..constants import DEPLOY_SCRIPTS, OVIRT_SCRIPTS, PREFIX_PATH_VARIABLE
from ..errors import LagoError, VMError
from ..host.parallel import in_parallel
from ..journal.commands import command
from ..log import LOG, task
from ..paths import Paths
from ..topology.model import Domain, Topology
from ..topology.variables import expand
from .peers import telling

if TYPE_CHECKING:
    from ..virt import VM, VirtEnv

_LONGEST: Final = 200
"""Bytes of the name of a script's copy; file systems take 255."""

KEYS: Final = (DEPLOY_SCRIPTS, OVIRT_SCRIPTS)


def gather(topology: Topology, paths: Paths, variables: Mapping[str, str]) -> Topology:
    """Copy all scripts into the prefix; the topology with the places where they are now.

    Args:
        variables: what may stand in paths as `$NAME`.

    Raises:
        LagoError: a script is not there.
    """
    taken: dict[str, str] = {}
    domains = {name: _gather(domain, paths, variables, taken) for name, domain in topology.domains.items()}
    return replace(topology, domains=domains)


def _gather(domain: Domain, paths: Paths, variables: Mapping[str, str], taken: dict[str, str]) -> Domain:
    stored = {
        key: [_store_script(expand(script, variables), domain, paths, taken) for script in domain.metadata[key]]
        for key in KEYS
        if domain.metadata.get(key)
    }
    return replace(domain, metadata={**domain.metadata, **stored})


def _store_script(source: str, domain: Domain, paths: Paths, taken: dict[str, str]) -> str:
    if not os.path.isfile(source):
        raise LagoError(
            f"the deploy script {source} of {domain.name} is not there",
            hint="correct the path; what is relative begins where the init file is",
        )
    # Its whole path, as scripts of one name may come from several places.
    name = whole = os.fsdecode(os.fsencode(source.replace(os.sep, "_"))[-_LONGEST:])
    while taken.setdefault(name, source) != source:
        name = f"{len(taken)}_{whole}"
    os.makedirs(paths.scripts(), 0o700, exist_ok=True)
    # It may hold what is not for everybody.
    shutil.copy(source, paths.scripts(name))
    os.chmod(paths.scripts(name), os.stat(source).st_mode & 0o755 | 0o600)
    return f"${PREFIX_PATH_VARIABLE}/{os.path.relpath(paths.scripts(name), paths.prefix())}"


def scripts(domain: Domain, paths: Paths, keys: Iterable[str]) -> list[str]:
    """The scripts of a machine, in order; `keys` of its metadata list them."""
    found = [script for key in keys for script in domain.metadata.get(key) or ()]
    return [script.replace(f"${PREFIX_PATH_VARIABLE}", paths.prefix(), 1) for script in found]


def run(env: VirtEnv, on_phase: Callable[[str, str], None], keys: Iterable[str]) -> None:
    """Run the scripts of all machines, side by side, those of one machine in order.

    A machine waits until all scripts of those have ended that its `deploy-after` names, and theirs; if one fails, its
    own are not run.

    Args:
        keys: of the metadata of machines, each a list of scripts.

    Raises:
        VMNotRunning, VMNotReady: a machine with scripts is down or does not answer.
        VMError: a script failed.
    """
    vms = env.get_vms()
    todo = {name: found for name in in_order(env.domains) if (found := scripts(vms[name].spec, env.paths, keys))}
    # Who is waited for comes first, so that there is always a thread for it.
    turns = {name: _Turn() for name in todo}

    def one(name: str) -> None:
        waited = [other for other in before(name, env.domains) if other in turns]
        with turns[name].ending():
            if waited:
                on_phase(name, f"waiting for {', '.join(waited)}")
            if failed := [other for other in waited if not turns[other].wait()]:
                LOG.warning("%s: its deploy scripts are not run, as those of %s failed", name, ", ".join(failed))
                on_phase(name, "failed")
                return
            if not env.cancelled.is_set():
                _deploy(vms[name], todo[name], on_phase)
                turns[name].well = True

    in_parallel(one, todo, what="deploy", cancel=env.cancelled.set)


class _Turn:
    """The scripts of a machine, which others wait for; `well` if they have ended so."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self.well = False

    @contextlib.contextmanager
    def ending(self) -> Iterator[None]:
        """Context manager: its scripts have ended when the block has."""
        try:
            yield
        finally:
            self._ended.set()

    def wait(self) -> bool:
        """Return whether they ended well, when they have."""
        self._ended.wait()
        return self.well


def before(name: str, domains: Mapping[str, Domain]) -> list[str]:
    """The machines that one waits for: those of its `deploy-after`, and those that they wait for."""
    found = dict.fromkeys(domains[name].deploy_after)
    for other in (todo := list(found)):
        more = [one for one in domains[other].deploy_after if one not in found]
        found.update(dict.fromkeys(more))
        todo += more
    return list(found)


def in_order(domains: Mapping[str, Domain]) -> list[str]:
    """The names of machines, each behind those that it waits for; else in the order of the init file."""
    return sorted(domains, key=lambda name: len(before(name, domains)))


def _deploy(vm: VM, paths: Iterable[str], on_phase: Callable[[str, str], None]) -> None:
    try:
        vm.connect()
        for path in paths:
            on_phase(vm.name(), os.path.basename(path).rpartition("_")[2])
            _run(vm, path)
    except BaseException:
        on_phase(vm.name(), "failed")
        raise
    on_phase(vm.name(), "up")


def _run(vm: VM, path: str) -> None:
    with (
        open(path, "rb") as file,
        task(f"Run {os.path.basename(path)} on {vm.name()}"),
        vm.journal.span("script", vm=vm.name(), path=os.path.relpath(path, vm.env.paths.prefix())) as span,
    ):
        with command(vm.journal, vm.name(), vm.guest.user, f"bash -s < {shlex.quote(os.path.basename(path))}") as told:
            status = vm.guest.run(telling(vm.name(), vm.env.domains, ["bash", "-s"]), data=file.read(), timeout=None)
            told.ended(status)
        span.close("failed" if status else "ok", code=status.code)
    LOG.debug("%s: %s printed:\n%s", vm.name(), path, status.text)
    if not status:
        LOG.debug("%s: %s complained:\n%s", vm.name(), path, status.error_text)
        return
    LOG.error("%s: %s:\n%s", vm.name(), path, status.error_text)
    raise VMError(
        f"{vm.name()}: the deploy script {path} ended with status {status.code}",
        details=status.tail(),
        hint="its whole output is in the prefix's lago.log; deploying again runs all scripts again",
    )
