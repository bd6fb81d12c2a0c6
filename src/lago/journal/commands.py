"""Commands in guests, and what is copied to and from them, in the journal."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

from ..errors import SSHError
from .writing import Journal, Span, outcome_of, said_by

_KEPT: Final = 4096
"""Characters of output that are kept, of the first and of the last, and bytes that these are looked for in."""

_AROUND: Final = 512
"""More bytes that are looked at, so that no secret is taken for less than it is where it is cut."""


class Said(Protocol):
    """How a command ended, such as `lago.CommandStatus`."""

    @property
    def code(self) -> int:
        """Its exit status."""

    @property
    def out(self) -> bytes:
        """Its output."""

    @property
    def err(self) -> bytes:
        """Its error output."""


class Command:
    """A command that runs in a guest."""

    def __init__(self, journal: Journal, span: Span) -> None:
        self._journal = journal
        self._span = span

    def ended(self, status: Said) -> None:
        """Record how it ended, and what it said."""
        self._span.fields(code=status.code, **self._kept("out", status.out), **self._kept("err", status.err))
        self._outcome(status.code)

    def ended_with(self, code: int) -> None:
        """Record its exit status, where what it said is not known."""
        self._span.fields(code=code)
        self._outcome(code)

    def _outcome(self, code: int) -> None:
        self._span.close("failed" if code else "ok")

    def _kept(self, which: str, data: bytes) -> dict[str, Any]:
        found: dict[str, Any] = {f"{which}_bytes": len(data)}
        if data:
            found[f"{which}_first"] = self._masked(data[: _KEPT + _AROUND])[:_KEPT]
        if len(data) > _KEPT:
            found[f"{which}_last"] = self._masked(data[-_KEPT - _AROUND :])[-_KEPT:]
        return found

    def _masked(self, data: bytes) -> str:
        return self._journal.masked(data.decode(errors="replace"))


@contextlib.contextmanager
def command(journal: Journal, vm: str, user: str, text: str | Sequence[str], *, tty: bool = False) -> Iterator[Command]:
    """Context manager: a command runs in a guest, as the journal tells, and that the connection was lost, if it was.

    Args:
        vm: the machine.
        user: who runs it there.
        text: the command.
        tty: whether it has a terminal.
    """
    line = text if isinstance(text, str) else shlex.join(text)
    with journal.span("command", vm=vm, text=line, user=user, tty=tty or None) as span:
        try:
            yield Command(journal, span)
        except BaseException as error:
            span.close(outcome_of(error), error=said_by(error))
            if isinstance(error, SSHError):
                journal.event("ssh", vm=vm, up=False)
            raise


class Copying:
    """Something that is being copied."""

    def __init__(self) -> None:
        self.bytes = 0

    def count(self, number: int) -> None:
        """Count bytes that went on."""
        self.bytes += number

    def counting(self, also: Callable[[int], object]) -> Callable[[int], None]:
        """Function that counts bytes, and tells somebody else of them."""

        def count(number: int) -> None:
            self.count(number)
            also(number)

        return count


@contextlib.contextmanager
def copy(journal: Journal, vm: str, direction: str, source: str, target: str) -> Iterator[Copying]:
    """Context manager: something is copied to or from a machine, as the journal tells.

    Args:
        direction: `to` or `from` it.
        source: what is copied, for people.
        target: where it comes to.
    """
    copying = Copying()
    with journal.span("copy", vm=vm, direction=direction, source=source, target=target) as span:
        try:
            yield copying
        finally:
            span.fields(bytes=copying.bytes)
