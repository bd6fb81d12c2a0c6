"""Running programs that read what strangers wrote, such as disk images: whatever these have them do, it is little.

A program runs in namespaces of its own: it sees the directories of the system and the files that it is to read, all of
them read-only, the directories that it is to write, and no network, process or socket besides. It gets no new rights,
and has limits. Of root's it has the user ids of nobody; an ordinary user's has his, and no capabilities.

Where the host lets us make no such namespaces, as in most containers, it has the limits alone, and the log says so.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from ..errors import CommandError
from ..log import LOG
from .programs import CommandStatus, installed, run

_INSIDE: Final = os.path.join(os.path.dirname(__file__), "confining.py")
_ENVIRONMENT: Final = ("PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH")
_told: set[str] = set()
"""The reasons why programs are not confined that this process has logged."""


class Limits(NamedTuple):
    """How much a program may take; None is without end.

    Attributes:
        memory: bytes of its address space.
        seconds: of processors.
        largest: bytes of a file that it writes.
    """

    memory: int | None = None
    seconds: int | None = None
    largest: int | None = None


def run_confined(
    argv: Sequence[str],
    *,
    reads: Iterable[str] = (),
    writes: Iterable[str] = (),
    system: Iterable[str] = (),
    limits: Limits = Limits(),  # noqa: B008 - it can't be changed
    group: int | None = None,
    network: bool = False,
    input_data: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    timeout: float | None = None,
) -> CommandStatus:
    """Run a program to its end; it ends with us, however we end.

    Args:
        argv: program and arguments; no shell.
        reads: files and directories that it may read, by the rights that we have.
        writes: directories, and files that are there, that it may write to.
        system: more of the system, which it may read as far as everybody may.
        limits: how much it may take.
        group: one more that root's program is in.
        network: let it have the host's.
        env: variables that it gets besides those of language, time and search path.
        timeout: seconds; `CommandError` when it passes.

    Raises:
        HostError: the program is not installed.
        CommandError: it failed; details are the end of its error output.
    """
    words = [word for name, value in _options(reads, writes, system) for word in (f"--{name}", os.path.abspath(value))]
    words += [word for name, value in limits._asdict().items() if value for word in (f"--{name}", str(value))]
    words += ["--group", str(group)] if group is not None else []
    words += ["--network", "host"] if network else []
    kept = {name: os.environ[name] for name in os.environ if name in _ENVIRONMENT or name.startswith("LC_")}
    words += [word for name, value in {**kept, **(env or {})}.items() for word in ("--set", f"{name}={value}")]
    said, report = os.pipe()
    try:
        launcher = [sys.executable or "python3", "-I", "-S", _INSIDE, "--parent", str(os.getpid()), "--report"]
        status = run(
            [*launcher, str(report), *words, "--", installed(argv[0]), *argv[1:]],
            input_data=input_data,
            check=False,
            cwd=cwd,
            timeout=timeout,
            pass_fds=(report,),
        )
    finally:
        os.close(report)
        with open(said, encoding="utf-8", errors="replace") as file:
            heard = file.read(1 << 12).splitlines()
    for line in heard:
        kind, _, why = line.partition(" ")
        if kind == "refused" and why not in _told:
            _told.add(why)
            LOG.info("%s is not confined, this host allows no namespaces for it: %s", argv[0], why)
    if status:
        details = status.tail()
        if limits.seconds and f"signal {_SIGKILL}" in heard:
            details = f"{details}\nit was ended: it took {limits.seconds} s of a processor".lstrip()
        raise CommandError(argv, status.code, details=details)
    return status


_SIGKILL: Final = 9


def _options(reads: Iterable[str], writes: Iterable[str], system: Iterable[str]) -> Iterable[tuple[str, str]]:
    for name, paths in (("read", reads), ("write", writes), ("system", system)):
        yield from ((name, path) for path in dict.fromkeys(paths))


def refusal() -> str:
    """Why programs can't be confined on this host, in the words of the system; empty if they can."""
    before = set(_told)
    _told.clear()
    try:
        with contextlib.suppress(CommandError):
            run_confined(["true"], timeout=30)
        return next(iter(_told), "")
    finally:
        _told.update(before)
