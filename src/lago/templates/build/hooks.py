"""What is done in a system while mmdebstrap installs it: files are put there, and commands of a recipe are run."""

from __future__ import annotations

import io
import os
import re
import shlex
import stat
import tarfile
from collections.abc import Container

from ...errors import CommandError, TemplateError
from .ext4 import EPOCH
from .recipe import Recipe

_BEGINS, _FAILED = "lago: begin command", "lago: failed command"


def write(recipe: Recipe, work: str, *, without: Container[str]) -> list[str]:
    """Write hooks for mmdebstrap, which gives them the root directory as `$1`; their files are written into `work`.

    Args:
        without: paths of files that are not put there.
    """
    archive = os.path.join(work, "files.tar")
    _pack(recipe, archive, without)
    # Not over a link: /lib leads to /usr/lib.
    hooks = [f'tar --keep-directory-symlink -C "$1" -xf {shlex.quote(archive)}']
    for number, command in enumerate(recipe.commands):
        run = f'chroot "$1" env HOME=/root DEBIAN_FRONTEND=noninteractive sh -ec {shlex.quote(command.text)} >&2'
        hooks.append(f'echo "{_BEGINS} {number}" >&2; {run} || {{ echo "{_FAILED} {number} $?" >&2; exit 1; }}')
    return hooks


def explain(recipe: Recipe, error: CommandError) -> TemplateError | None:
    """The failure of one of the commands, if it was one that made mmdebstrap fail."""
    found = re.search(rf"^{_FAILED} (\d+) (\d+)$", error.details, re.MULTILINE)
    if found is None:
        return None
    command = recipe.commands[int(found[1])]
    # What comes before is said by mmdebstrap, which repeats the hook itself.
    said = re.split(rf"^{_BEGINS} \d+$\n", error.details[: found.start()], flags=re.MULTILINE)[-1]
    return TemplateError(
        f"{command.where}: the command failed with exit status {found[2]}: {command.text.splitlines()[0]}",
        details=said,
        hint="correct the recipe; the store is as it was",
    )


def _pack(recipe: Recipe, archive: str, without: Container[str]) -> None:
    with tarfile.open(archive, "w") as tar:
        for path, one in sorted(recipe.contents().items()):
            if path in without:
                continue
            member = tarfile.TarInfo(path)
            member.mtime = EPOCH
            if isinstance(one, str):
                member.type, member.linkname = tarfile.SYMTYPE, one
                tar.addfile(member)
            else:
                member.mode, member.size = stat.S_IMODE(one.permissions), len(one.content)
                tar.addfile(member, io.BytesIO(one.content))
