"""What is done with environments, in their journals: each thing once, by whoever began it.

A command of `lago` that calls a method, and a method that calls another, are told as the first of them.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from .writing import Journal, Span

P = ParamSpec("P")
R = TypeVar("R")

_LONGEST: Final = 300
"""Characters of the value of an argument."""

_PEOPLE: Final = frozenset(("on_phase",))
"""Arguments that say nothing of what is done."""


class Recorded(Protocol):
    """Something whose methods are told in a journal."""

    @property
    def journal(self) -> Journal:
        """The journal."""


class CommandLine:
    """A command of `lago` that runs; the journals of the environments that it does something to have it.

    Args:
        name: of the command.
        words: of the whole command line.
    """

    def __init__(self, name: str, words: Sequence[str]) -> None:
        self._name = name
        self._words = words
        self._spans: dict[str, Span] = {}

    def begin(self, journal: Journal, began: float | None = None) -> Span:
        """Tell the journal of an environment of it, once.

        Args:
            began: when it began, seconds since 1970; without it now.
        """
        if journal.prefix_dir not in self._spans:
            import shlex

            text = shlex.join(self._words)
            self._spans[journal.prefix_dir] = journal.span("verb", t=began, name=self._name, args=text, by="cli")
        return self._spans[journal.prefix_dir]

    def end(self, code: int, error: BaseException | None = None) -> None:
        """Tell how it ended, by its exit status and what was wrong."""
        from .writing import outcome_of, said_by

        for span in self._spans.values():
            if error is None:
                span.close("failed" if code else "ok", code=code)
            else:
                span.close(outcome_of(error), code=code, error=said_by(error))
        self._spans.clear()
        if _command_line.get() is self:
            # Whoever called it as a function may go on.
            _command_line.set(None)


_command_line: ContextVar[CommandLine | None] = ContextVar("command_line", default=None)
_under_way: ContextVar[frozenset[str]] = ContextVar("under_way", default=frozenset())
"""The directories of the environments of which a journal has something that is under way."""

_by: ContextVar[str] = ContextVar("by", default="sdk")


def run_command_line(name: str, words: Sequence[str]) -> CommandLine:
    """Let what happens from now on in this context be done by a command of `lago`, and return that."""
    command = CommandLine(name, words)
    _command_line.set(command)
    return command


def before_another_program() -> None:
    """Let what a command of `lago` does be done, since this process becomes another program."""
    if (command := _command_line.get()) is not None:
        command.end(0)


def is_done_by(who: str) -> None:
    """Let what is done in this context from now on be done by somebody: `sdk`, `pytest`."""
    _by.set(who)


@contextlib.contextmanager
def doing(journal: Journal, name: str, args: Callable[[], str] = str, *, began: float | None = None) -> Iterator[None]:
    """Context manager: something is done with an environment, as its journal tells.

    Args:
        name: what.
        args: says with what, if that is to be told.
        began: when it began, seconds since 1970; without it now.
    """
    where = journal.prefix_dir
    if where in _under_way.get():
        yield
        return
    outside = _under_way.set(_under_way.get() | {where})
    try:
        if (command := _command_line.get()) is not None:
            with command.begin(journal, began).inside():
                yield
        else:
            with journal.span("verb", t=began, name=name, args=args(), by=_by.get()):
                yield
    finally:
        _under_way.reset(outside)


def recorded(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Decorator: calls of a method are told in the journal of its object; see `Recorded`."""
    name = method.__name__.lstrip("_")

    @functools.wraps(method)
    def call(self: Recorded, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with doing(self.journal, name, lambda: spelled(self, args, kwargs)):
            return method(self, *args, **kwargs)

    return call


def spelled(whose: object, args: Sequence[Any], kwargs: dict[str, Any]) -> str:
    """The arguments of a call, as one writes them, behind the name of the machine whose method it is."""
    of = getattr(whose, "name", None)
    words = [of()] if callable(of) else []
    words += [_short(one) for one in args if not callable(one)]
    words += [f"{key}={_short(one)}" for key, one in kwargs.items() if key not in _PEOPLE and not callable(one)]
    return ", ".join(words)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
