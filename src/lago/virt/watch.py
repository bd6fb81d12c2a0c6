"""Who sees to it that somebody writes down what happens to machines; the program is `watching`."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterable
from typing import Final

from ..errors import LagoError
from ..host import locks, waiting
from ..host.beneath import not_a_link
from ..host.inotify import Directory
from ..host.programs import DEVNULL, spawn
from ..log import LOG
from ..paths import Paths
from .heard import Consoles, Seen, is_told, skip
from .session import Session

_CODE: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); from lago.virt.watching import main; "
    "main(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5] == 'shared', int(sys.argv[6]))"
)
_PATIENCE: Final = 10.0
_SOON: Final = 3.0
_ENDED: Final = ("shut off", "crashed")


def begin(env: Session) -> None:
    """Let somebody watch the machines of an environment, whose libvirt is there, unless that is so.

    Nothing depends on it: what goes wrong is logged.
    """
    try:
        if not env.journal.kept:
            return
        lock = locks.lock_if_free(env.paths.watch_lock())
        if lock is None:
            return
        try:
            if Seen.there(env.paths):
                _catch_up(env)
            else:
                skip(env.paths, env.domains)
            _launch(env, lock)
        finally:
            os.close(lock)
    except (LagoError, OSError) as error:
        LOG.warning("the journal has nothing of consoles and states: %s", error)


def _launch(env: Session, lock: int) -> None:
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    kind = "shared" if env.hypervisor.shared else "private"
    words = [source, env.paths.prefix(), env.uuid, env.hypervisor.inner_uri, kind, str(lock)]
    argv = ["setsid", "--fork", *env.hypervisor.command([sys.executable, "-I", "-c", _CODE, *words])]
    with (
        open(env.paths.logs("watch.log"), "ab", opener=not_a_link) as log,
        spawn(argv, stdout=DEVNULL, stderr=log, pass_fds=[lock], cwd="/") as parent,
    ):
        parent.wait()


def wait_for_last_words(paths: Paths, names: Iterable[str], patience: float = _SOON) -> None:
    """Return when the journal has what machines have said by now, or after some seconds: some never stop talking.

    Args:
        paths: of the prefix.
        names: of the machines.
        patience: seconds.
    """
    with contextlib.suppress(OSError), contextlib.closing(Directory(paths.virt())) as directory:
        for left in waiting.within(patience if Seen.there(paths) else 0):
            if is_told(paths, names):
                return
            directory.wait(left)


def end(env: Session) -> None:
    """Let nobody watch any more, now that nothing runs; what was not written down yet is."""
    with contextlib.suppress(OSError, LagoError):
        if env.hypervisor.shared:
            _stop(env.paths.watch_lock())
        lock = locks.lock_if_free(env.paths.watch_lock()) if Seen.there(env.paths) else None
        if lock is not None:
            try:
                _catch_up(env)
            finally:
                os.close(lock)


def _stop(lock: str) -> None:
    """End who holds a lock, and return when he has."""
    for pid in locks.holders(lock) if os.path.exists(lock) else ():
        with contextlib.suppress(ProcessLookupError), waiting.pidfd(pid) as process:
            if pid in locks.holders(lock):
                signal.pidfd_send_signal(process, signal.SIGTERM)
                waiting.wait_for_end(process, _PATIENCE)


def _catch_up(env: Session) -> None:
    """Write down what nobody has: the last words of machines, and that they have ended."""
    seen = Seen(env.paths)
    consoles = Consoles(env.paths, env.domains, seen)
    env.journal.events(consoles.entries(everything=True))
    consoles.close()
    for name, state in seen.states.items():
        if state not in _ENDED and not env.live:
            seen.states[name] = _ENDED[0]
            env.journal.event("state", vm=name, state=_ENDED[0], reason="its hypervisor has ended")
    seen.save()
