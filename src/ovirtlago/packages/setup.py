"""The repositories of an environment: what is synced, built and given, merged for each distribution.

    repositories of a configuration ── sync ──────┐
    directories, packages, addresses ── sources ──┼── merge_repos ──> internal_repo/<distribution>
    sources of projects ── builds ────────────────┘

Of a package that several of them have, that of a build counts, then that of a source in the order given, then that of a
synced repository.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lago import config
from lago.errors import ConfigError
from lago.log import LOG, task
from lago.utils import in_parallel

from ..merge_repos import merge
from ..paths import OvirtPaths
from ..repository import config as repository_config
from ..repository.rpms import RepoError
from . import builds, sources, sync

DEFAULT_NAME: Final = "default"
"""The repository's name where no distribution is known."""

_REVISIONS: Final = ("ovirt-engine", "vdsm")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What repositories are made of.

    Attributes:
        rpm_repo: directory of the copies of synced repositories; without one that of the settings.
        config: configuration file of dnf that names them. Those that are for a distribution of the environment count,
            `<any name>-<distribution>`; all that are enabled, if none is known.
        skip_sync: use the copies as they are.
        projects: directories with the sources of projects to build, see `builds.PROJECTS`.
        with_gwt: build the engine with its web pages.
        custom: other sources, see `sources`. A directory may have one directory for each distribution.
        name: make one repository of this name in place of one for each distribution.
    """

    rpm_repo: str = ""
    config: str = ""
    skip_sync: bool = False
    projects: Mapping[str, str] = field(default_factory=dict)
    with_gwt: bool = False
    custom: Sequence[str] = ()
    name: str = ""


def setting(key: str, default: str) -> str:
    """`reposync_dir` or `reposync_config` as the configuration has it, in the section `ovirt` or `lago`."""
    return str(config.get(key, None, section="ovirt") or config.get(key, default))


def prepare(paths: OvirtPaths, dists: Mapping[str, Sequence[str]], wanted: Wanted) -> dict[str, Any]:
    """Make the repositories of an environment.

    Args:
        dists: the distributions of machines by role, `engine` and `host`.

    Returns:
        `repositories`, by name the `path` and the number of `packages`, and `revisions`, the commits that were built.

    Raises:
        ConfigError: there is nothing to make them of.
        RepoError: a package is damaged. A repository that it would be in is as before.
        LagoError: something can't be had or built.
    """
    everything = list(dict.fromkeys(dist for role in dists.values() for dist in role))
    targets = {wanted.name: everything} if wanted.name else {dist: [dist] for dist in everything}
    targets = targets or {DEFAULT_NAME: []}
    for name in targets:
        if os.sep in name or name.startswith("."):
            raise ConfigError(f"{name!r} can't be the name of a repository", hint="it is that of a directory")
    _sweep(paths)
    synced = _repos_to_sync(wanted, everything)
    copies = wanted.rpm_repo or setting("reposync_dir", os.path.join(config.data_home(), "reposync"))
    custom: dict[str, str] = {}
    cancelled = threading.Event()

    def fetch(source: str) -> None:
        custom[source] = sources.local(source, paths.build_dir("sources"), cancelled)

    jobs: list[Callable[[], object]] = [functools.partial(fetch, source) for source in dict.fromkeys(wanted.custom)]
    if synced and not wanted.skip_sync:
        jobs.append(lambda: sync.sync(copies, wanted.config, synced, cancelled))
    for project, source in wanted.projects.items():
        env = {"BUILD_GWT": str(int(wanted.with_gwt))} if project == "ovirt-engine" else None
        theirs = dists.get(builds.PROJECTS[project].role, ())
        jobs.append(functools.partial(builds.build, paths, project, source, theirs, env))
    in_parallel(lambda job: job(), jobs, what="packages of the environment", cancel=cancelled.set)

    def inputs(dist: str) -> Iterable[str]:
        yield from filter(os.path.isdir, (paths.build_dir(project, dist) for project in wanted.projects))
        yield from (sources.part_for(dist, custom[source]) for source in wanted.custom)
        yield from (os.path.join(copies, repo) for repo in synced if _is_for(dist, repo))

    places = {
        name: list(dict.fromkeys(place for dist in theirs or [""] for place in inputs(dist)))
        for name, theirs in targets.items()
    }
    for place in (place for some in places.values() for place in some if not os.path.exists(place)):
        raise RepoError(f"there is no copy of a repository in {place}", hint="sync it first: leave out --skip-sync")
    made = in_parallel(lambda name: _merge(paths.internal_repo(name), places[name]), places, what="repositories")
    revisions = {name: builds.revision(wanted.projects[name]) for name in _REVISIONS if name in wanted.projects}
    return {"repositories": dict(zip(places, made, strict=True)), "revisions": revisions}


def _sweep(paths: OvirtPaths) -> None:
    """Remove what a killed run left."""
    for directory in (paths.internal_repo(), paths.build_dir()):
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(directory):
                if name.startswith("."):
                    shutil.rmtree(os.path.join(directory, name), ignore_errors=True)


def _repos_to_sync(wanted: Wanted, dists: Sequence[str]) -> list[str]:
    """Names of the repositories to sync."""
    enough = bool(wanted.custom or wanted.projects)
    if not wanted.config:
        if enough:
            return []
        raise ConfigError(
            "there is nothing to make a repository of",
            hint="give --reposync-yum-config (or set reposync_config), --custom-source, or sources to build",
        )
    if enough and not os.path.exists(wanted.config):
        LOG.warning("there is no %s, so no repositories are synced", wanted.config)
        return []
    known = repository_config.read(wanted.config)
    found = [
        name for name, repo in known.items() if (not dists and repo.enabled) or any(_is_for(d, name) for d in dists)
    ]
    if not found and not enough:
        raise ConfigError(
            f"{wanted.config} has no repository for {', '.join(dists) or 'this environment'}",
            hint=f"names of repositories end with the distribution, such as ovirt-{dists[0] if dists else 'el9'}; "
            f"there are: {', '.join(known) or 'none'}",
        )
    return found


def _is_for(dist: str, repo: str) -> bool:
    return not dist or repo.endswith(f"-{dist}")


def _merge(path: str, inputs: Sequence[str]) -> dict[str, Any]:
    with task(f"Merge packages into {os.path.basename(path)}"):
        packages = merge(path, inputs)
    if not packages:
        LOG.warning("%s has no packages: there are none in %s", path, ", ".join(inputs) or "what was given")
    return {"path": path, "packages": len(packages)}
