"""Copies of repositories of packages on this host, made and kept by `dnf reposync`."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator
from typing import Final

from lago.errors import CommandError, HostError, LagoError
from lago.log import LOG, task
from lago.utils import in_parallel, lock_file, run

from .. import repoverify
from ..repository.rpms import ARCHITECTURES

_TRIES: Final = 3
_PATIENCE: Final = 3600
"""Seconds to wait for another process that brings the same copies up to date."""


def sync(repo_path: str, yum_config: str, repos: Iterable[str], cancelled: threading.Event | None = None) -> None:
    """Bring the copies of repositories up to date: the newest packages for our machines, and nothing else.

    Files that are damaged are fetched again. Where dnf fails and the copy is complete and sound nevertheless, that is
    a warning.

    Args:
        repo_path: directory of the copies, one for each repository below it.
        yum_config: configuration file of dnf that has the repositories. No other is read.
        repos: their names.
        cancelled: when it is set, dnf is not run again.

    Raises:
        HostError: dnf is not installed, or `repo_path` may not be written to.
        LockTimeout: another process is at it for too long.
        CommandError: dnf failed, and the copy is not what it should be, or that can't be found out.
    """
    repos = list(repos)
    if not repos:
        return
    with task(f"Sync {', '.join(repos)}"), _locked(repo_path):
        event = cancelled or threading.Event()
        in_parallel(
            lambda repo: _sync(repo_path, yum_config, repo, event),
            repos,
            what="sync of repositories",
            cancel=event.set,
        )


@contextlib.contextmanager
def _locked(repo_path: str) -> Iterator[None]:
    path = os.path.join(repo_path, "repolock")
    with contextlib.ExitStack() as stack:
        try:
            os.makedirs(repo_path, exist_ok=True)
            stack.enter_context(lock_file(path, what=f"the copies of repositories in {repo_path}", timeout=_PATIENCE))
        except OSError as error:
            raise HostError(
                f"{error.filename or path} can't be written to: {error.strerror}",
                hint="give another directory: --rpm-repo, or the setting reposync_dir",
            ) from None
        yield


def _sync(repo_path: str, yum_config: str, repo: str, cancelled: threading.Event) -> None:
    for left in reversed(range(_TRIES)):
        try:
            _reposync(repo_path, yum_config, repo)
            return
        except CommandError as error:
            failure = error
            if cancelled.is_set():
                raise
            if left:
                LOG.warning("%s: dnf reposync failed, trying again: %s", repo, error.details)
    try:
        repoverify.verify_reposync(yum_config, repo_path, [repo])
    except LagoError as fault:
        raise CommandError(
            failure.argv,
            failure.code,
            details=f"{failure.details}\nthe copy of {repo} is not complete, or that is not known:\n{fault.render()}",
            hint=f"correct [{repo}] in {yum_config}, or use the copy as it is: --skip-sync",
        ) from None
    LOG.warning("%s: dnf reposync failed, but the copy of it is complete: %s", repo, failure.details)


def _reposync(repo_path: str, yum_config: str, repo: str) -> None:
    # The database of packages, caches and logs are the root's, and so are repositories that are not in the file.
    with tempfile.TemporaryDirectory() as root:
        run(
            [
                "dnf",
                "--quiet",
                f"--config={os.path.abspath(yum_config)}",
                f"--installroot={root}",
                "--setopt=reposdir=/nonexistent",
                "reposync",
                f"--repoid={repo}",
                f"--download-path={os.path.abspath(repo_path)}",
                "--newest-only",
                "--delete",
                *(f"--arch={arch}" for arch in ARCHITECTURES),
            ],
            env={"LC_ALL": "C.UTF-8"},
        )
