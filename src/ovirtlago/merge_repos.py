"""One repository out of several directories with packages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable

from lago.utils import beside, in_parallel, run

from .repository import rpms
from .repository.replace import replace_directory
from .repository.rpms import RepoError, Rpm


def merge(output_dir: str, input_dirs: Iterable[str]) -> list[Rpm]:
    """Make `output_dir` a repository of the packages below the directories `input_dirs`.

    Source packages and those of foreign architectures are left out. Of each input the newest version of a package
    counts, and what an earlier input has is not taken from later ones, whatever its version. Files are hard links where
    that is possible. What was in `output_dir` is replaced at once, when all is done.

    Args:
        input_dirs: directories, searched to any depth, or single packages.

    Returns:
        The packages, in order of their names.

    Raises:
        RepoError: an input is not there, or a package in it is damaged.
        HostError: createrepo_c or rpm is not installed.
    """
    chosen = sorted(_choose(input_dirs), key=lambda rpm: rpm.file_name)
    output_dir = os.path.abspath(output_dir)
    os.makedirs(os.path.dirname(output_dir), exist_ok=True)
    staging = beside(output_dir)
    os.mkdir(staging)
    try:
        for rpm in chosen:
            _place(rpm.path, os.path.join(staging, rpm.file_name))
        make_metadata(staging)
        replace_directory(output_dir, staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return chosen


def make_metadata(directory: str) -> None:
    """Make a directory of packages a repository, of a form that old and new systems read."""
    run(["createrepo_c", "--quiet", "--no-database", "--general-compress-type=gz", directory])


def _choose(inputs: Iterable[str]) -> Iterable[Rpm]:
    chosen: dict[tuple[str, str], Rpm] = {}
    for packages in in_parallel(rpms.find, inputs, what="reading packages"):
        earlier = {name for name, _ in chosen}
        for rpm in rpms.newest(packages, lambda rpm: (rpm.name, rpm.arch), lambda rpm: rpm.evr):
            if rpm.name not in earlier:
                chosen[rpm.name, rpm.arch] = rpm
    return chosen.values()


def _place(source: str, target: str) -> None:
    source = os.path.realpath(source)
    try:
        os.link(source, target)
    except OSError:
        # Another file system, or a file of somebody else's.
        try:
            shutil.copy2(source, target)
        except OSError as error:
            raise RepoError(
                f"{source} can't be copied to {target}: {error.strerror}", hint="is there room, and may you read it?"
            ) from None
