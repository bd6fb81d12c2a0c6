"""Running the programs that build images, so that they end when we are killed."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping, Sequence

from ...errors import CommandError, HostError
from ...host.programs import CommandStatus, package_hint
from ...host.programs import run as run_program

# An ordinary user's PATH may lack these.
_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    cwd: str | None = None,
    output: str | None = None,
) -> CommandStatus:
    """Like `utils.run`, for a program that gets SIGKILL when this process dies, however it dies.

    Args:
        output: a file that its standard output goes to.

    Raises:
        HostError: the program is not installed, or the disk is full.
        CommandError: it failed.
    """
    path = f"{os.environ.get('PATH', '/usr/bin:/bin')}:{_SYSTEM_PATH}"
    program = shutil.which(argv[0], path=path)
    if program is None:
        raise HostError(f"the program {argv[0]} is not installed", hint=package_hint(_PACKAGES.get(argv[0], argv[0])))
    guard = ["setpriv", "--pdeathsig", "KILL", "--"]
    if output is not None:
        guard += ["sh", "-c", 'exec "$@" >"$0"', output]
    status = run_program([*guard, program, *argv[1:]], env={**(env or {}), "PATH": path}, check=False, cwd=cwd)
    if check and status:
        text = (status.err or status.out).decode(errors="replace").rstrip()
        if _FULL in text:
            raise HostError(
                "no space left on the device while building a template",
                details=_tail(text, 5),
                hint="free some, about 1 GiB is needed, or choose another place with LAGO_TEMPLATE_STORE",
            )
        raise CommandError(argv, status.code, details=_tail(text))
    return status


def _tail(text: str, lines: int = 20) -> str:
    return "\n".join(text.splitlines()[-lines:])


_FULL = os.strerror(errno.ENOSPC)
_PACKAGES = {
    "debugfs": "e2fsprogs",
    "e2fsck": "e2fsprogs",
    "mke2fs": "e2fsprogs",
    "apt-get": "apt",
    "apt-cache": "apt",
    "apt-config": "apt",
    "dpkg-deb": "dpkg",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}
