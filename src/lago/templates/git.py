"""Template repositories as git repositories, cloned into the directory `template_repos`."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile

from .. import config
from ..errors import TemplateError
from ..host.parallel import in_parallel
from ..host.programs import run
from ..log import say

_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


def add(url: str) -> str:
    """Clone a repository, and return where it is now.

    Raises:
        TemplateError: there is one of its name.
        CommandError: git can't.
    """
    home = config.template_repos()
    url = os.path.abspath(url) if os.path.exists(url) else url
    os.makedirs(home, exist_ok=True)
    staging = tempfile.mkdtemp(prefix=".add-", dir=home)
    try:
        run(["git", "clone", "--quiet", "--", url], cwd=staging, env=_ENVIRONMENT, hint="is the address right?")
        (name,) = os.listdir(staging)
        path = os.path.join(home, name)
        if os.path.lexists(path):
            raise TemplateError(f"{path} exists already", hint="lago template-repo update brings it up to date")
        os.rename(os.path.join(staging, name), path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return path


def update() -> list[str]:
    """Bring every clone to what its origin has now, whatever was changed here; where they are.

    Raises:
        TemplateError: there is none.
        CommandError: git can't; all others were updated.
    """
    home = config.template_repos()
    found = []
    for place, directories, _ in os.walk(home):
        if ".git" in directories:
            found.append(place)
        directories[:] = [name for name in directories if not name.startswith(".")]
    if not found:
        raise TemplateError(f"there is no template repository in {home}", hint="lago template-repo add URL")
    in_parallel(_update, found, what="update template repositories")
    return sorted(found)


def _update(path: str) -> None:
    say(f"Updating {path}")
    hint = f"is its origin still there? git -C {shlex.quote(path)} remote -v"
    for words in (
        ["fetch", "--quiet", "--prune", "origin"],
        # It may have got another name than that of the clone.
        ["remote", "set-head", "origin", "--auto"],
        ["reset", "--quiet", "--hard"],
        ["checkout", "--quiet", "--detach", "origin/HEAD"],
    ):
        run(["git", "-C", path, *words], env=_ENVIRONMENT, hint=hint)
