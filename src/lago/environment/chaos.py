"""A plan of faults carried out: each comes and goes at its time, a check runs between, and in the end all is healed."""

from __future__ import annotations

import contextlib
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..constants import PREFIX_PATH_VARIABLE
from ..errors import LagoError
from ..host.programs import DEVNULL, PIPE, run, spawn

if TYPE_CHECKING:
    from .faults.breaking import Broken
    from .faults.plans import Step
    from .prefix import Prefix

_GUARD: Final = 'read -r word; [ "$word" = healed ] || exec "$@"'
"""Waits until who started it says that all is healed, or ends in whatever way, and heals then."""

_TAIL: Final = 10

Event = dict[str, Any]
"""What happened: `at`, in seconds since the begin, `event` (`inflict`, `heal` or `check`), and more by its kind."""


class Chaos:
    """A plan that is carried out.

    Args:
        prefix: what is broken.
        check: a shell command that must succeed between the faults and at the end; nothing is checked without it.
        keep_going: go on when the check fails, or a fault can't be inflicted.
        tell: called with each event as it happens.

    Attributes:
        timeline: what happened, in order.
    """

    def __init__(self, prefix: Prefix, check: str, *, keep_going: bool, tell: Callable[[Event], None]) -> None:
        self._prefix = prefix
        self._check_command = check
        self._keep_going = keep_going
        self._tell = tell
        self._began = time.monotonic()
        self.timeline: list[Event] = []

    def run(self, plan: Sequence[Step]) -> bool:
        """Carry out a plan, and return whether all went well. Whatever happens, all is healed at the end.

        Raises:
            LagoError: it can't be healed.
        """
        with _guarded(self._prefix):
            try:
                self._began = time.monotonic()
                well = self._check() and self._steps(plan)
            finally:
                healed = self._prefix.heal()
                for fault in healed:
                    self._note("heal", fault=fault.id)
        return self._check() and well

    def _steps(self, plan: Sequence[Step]) -> bool:
        """Inflict and heal at the times of a plan; whether all went well."""
        times = [(step.at, 1, number) for number, step in enumerate(plan)]
        times += [(step.until, 0, number) for number, step in enumerate(plan)]
        held: dict[int, Broken] = {}
        well = True
        for at, begins, number in sorted(times):
            threading.Event().wait(max(0.0, at - (time.monotonic() - self._began)))
            if begins:
                try:
                    held[number] = self._prefix.inflict(plan[number].fault)
                    self._note("inflict", fault=held[number].faults[0].id, words=plan[number].fault)
                except LagoError as error:
                    self._note("refused", words=plan[number].fault, why=error.render())
                    well = False
            elif number in held:
                broken = held.pop(number)
                broken.heal()
                self._note("heal", fault=broken.faults[0].id)
            well = self._check() and well
            if not well and not self._keep_going:
                return False
        return well

    def _check(self) -> bool:
        if not self._check_command:
            return True
        place = {PREFIX_PATH_VARIABLE: self._prefix.paths.prefix()}
        began = time.monotonic()
        done = run(["sh", "-c", self._check_command], check=False, env=place)
        self._note(
            "check", ok=not done, code=done.code, seconds=round(time.monotonic() - began, 2), said=done.tail(_TAIL)
        )
        return not done

    def _note(self, event: str, **more: Any) -> None:
        noted = {"at": round(time.monotonic() - self._began, 2), "event": event, **more}
        self.timeline.append(noted)
        self._tell(noted)


@contextlib.contextmanager
def _guarded(prefix: Prefix) -> Iterator[None]:
    """Context manager: another program heals if this one is killed; a session of its own, it gets no Ctrl-C."""
    heal = [sys.executable, "-m", "lago", "-l", "error", "-p", prefix.paths.prefix(), "heal"]
    argv = ["sh", "-c", _GUARD, "sh", *heal]
    with spawn(argv, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True, ask=None) as guard:
        yield
        if guard.stdin is not None:
            guard.stdin.write(b"healed\n")
            guard.stdin.flush()


def line(event: Event) -> str:
    """An event in a line for people."""
    at = f"{event['at']:7.1f} s"
    if event["event"] == "check":
        said = "" if event["ok"] else f": exit status {event['code']}: {shlex.quote(event['said'])}"
        return f"{at}  check {'ok' if event['ok'] else 'FAILED'}{said}"
    if event["event"] == "refused":
        return f"{at}  refused {event['words']}: {event['why']}"
    return f"{at}  {event['event']} {event['fault']}{': ' + event['words'] if 'words' in event else ''}"
