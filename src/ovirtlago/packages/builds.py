"""Packages built from source by scripts.

The script of a project is found in `constants.LIBEXEC_DIR` or on the search path and called as

    SCRIPT SOURCE_DIR RESULT_DIR DIST...

and puts the packages for a distribution into `RESULT_DIR/DIST`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from lago.errors import CommandError, HostError, LagoError
from lago.log import task
from lago.utils import beside, run

from ..constants import LIBEXEC_DIR
from ..paths import OvirtPaths
from ..repository.replace import replace_directory
from ..repository.rpms import RepoError


class Project(NamedTuple):
    """A project that is built.

    Attributes:
        script: what builds it.
        role: `engine` or `host`, the machines that it is for; it is built for their distributions.
    """

    script: str
    role: str


PROJECTS: Final[Mapping[str, Project]] = {
    "vdsm": Project("build_vdsm_rpms.sh", "host"),
    "ovirt-engine": Project("build_engine_rpms.sh", "engine"),
    "vdsm-jsonrpc-java": Project("build_vdsm-jsonrpc-java_rpms.sh", "engine"),
    "ioprocess": Project("build_ioprocess_rpms.sh", "host"),
}


def build(
    paths: OvirtPaths, name: str, source: str, dists: Sequence[str], env: Mapping[str, str] | None = None
) -> None:
    """Build a project; `paths.build_dir(name, DIST)` has its packages then. If it fails, it has those from before.

    Args:
        source: directory of its sources.
        dists: distributions to build for.
        env: variables for the script.

    Raises:
        LagoError: there is nothing to build, or nothing to build it for.
        HostError: the script is not installed.
        CommandError: it failed; its output is in `logs/build-<name>.log`.
        RepoError: it made no packages for a distribution.
    """
    project = PROJECTS[name]
    if not os.path.isdir(source):
        raise LagoError(f"{name}: there is no directory {source}", hint="give the directory with its sources")
    if not dists:
        raise LagoError(
            f"{name}: there is no distribution to build for",
            hint=f"the environment needs an {project.role} whose template or init file says its distro",
        )
    result = paths.build_dir(name)
    os.makedirs(os.path.dirname(result), exist_ok=True)
    staging = beside(result)
    try:
        with task(f"Build {name}"):
            os.mkdir(staging)
            _run([_find(project.script), os.path.abspath(source), staging, *dists], paths, name, env)
        empty = [dist for dist in dists if not os.path.isdir(os.path.join(staging, dist))]
        if empty:
            raise RepoError(
                f"{name}: {project.script} made no packages for {', '.join(empty)}",
                hint=f"it should put them into RESULT_DIR/{empty[0]}; its output is {_log(paths, name)}",
            )
        replace_directory(result, staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _find(script: str) -> str:
    found = shutil.which(script, path=os.pathsep.join([LIBEXEC_DIR, os.environ.get("PATH", os.defpath)]))
    if found is None:
        raise HostError(f"the program {script} is not there", hint=f"put it into {LIBEXEC_DIR} or on the search path")
    return found


def _run(argv: Sequence[str], paths: OvirtPaths, name: str, env: Mapping[str, str] | None) -> None:
    done = run(argv, check=False, env=env)
    with open(_log(paths, name), "wb") as file:
        file.write(done.out + done.err)
    if done:
        raise CommandError(argv, done.code, details=done.tail(), hint=f"the whole output is {_log(paths, name)}")


def _log(paths: OvirtPaths, name: str) -> str:
    return paths.logs(f"build-{name}.log")


def revision(path: str) -> str:
    """Commit that a git work tree is at, or `unknown`."""
    try:
        return run(["git", "-C", path, "rev-parse", "--verify", "HEAD"]).text.strip()
    except LagoError:
        return "unknown"
