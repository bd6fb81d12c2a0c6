"""Faults as people write them: `slow db --delay 200ms`, on command lines, in markers and in init files."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...errors import LagoError
from ...host.suggest import near
from .model import Fault, Kind, Option
from .registry import KINDS


def kind_of(name: str) -> Kind:
    """A kind by its name. Raises LagoError."""
    if name not in KINDS:
        raise LagoError(f"there is no fault {name}", hint=near(name, KINDS))
    return KINDS[name]


def make(kind: str, targets: Sequence[str] = (), settings: Mapping[str, Any] | None = None) -> Fault:
    """A fault of what a program says, as far as that can be judged without an environment.

    Args:
        settings: by name, texts or values; None, False and what is empty count as not said.

    Raises:
        LagoError: there is no such kind or setting, a value is wrong, targets lack or are too many.
    """
    known = kind_of(kind)
    found = {}
    for name, raw in (settings or {}).items():
        option = known.option(name)
        if option is None:
            names = [one.name for one in (*known.positional, *known.options)]
            raise LagoError(f"{kind} has no setting {name}", hint=near(name, names))
        if raw is None or raw is False or raw == () or raw == []:
            continue
        found[name] = [_read(kind, option, one) for one in raw] if option.many else _read(kind, option, raw)
    for option in known.positional:
        if option.name not in found and not option.optional:
            told = option.help.replace("%%", "%")
            raise LagoError(f"{kind} needs {option.metavar}: {told}", hint=f"lago fault {kind} --help")
    return Fault(kind=kind, targets=_targets(known, targets), settings=found)


def _read(kind: str, option: Option, raw: Any) -> Any:
    try:
        return option.read(raw)
    except (ValueError, TypeError) as error:
        raise LagoError(f"{kind}: {option.name}: {error}", hint=f"lago fault {kind} --help") from None


def _targets(kind: Kind, words: Sequence[str]) -> tuple[str, ...]:
    if (mark := kind.between.strip()) and any(mark in word for word in words):
        words = ["".join(part.split()) for part in " ".join(words).split(mark)]
    found = tuple(word for word in words if word)
    if kind.most == 0 and found:
        raise LagoError(f"{kind.name} does not take {' '.join(found)}", hint=f"lago fault {kind.name} --help")
    most = len(found) if kind.most is None else kind.most
    if len(found) < len(words) or not kind.least <= len(found) <= most:
        told = f"{kind.least}" if kind.most == kind.least else f"at least {kind.least}"
        raise LagoError(
            f"{kind.name} needs {told} of {kind.target}, not {len(found)}", hint=f"lago fault {kind.name} --help"
        )
    return found


def parse(text: str) -> Fault:
    """A fault as it is written on a command line. Raises LagoError."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise LagoError(f"the fault {text!r} can't be read: {error}") from None
    if not words:
        raise LagoError("a fault is named by a word such as cut", hint=near("", KINDS))
    kind = kind_of(words[0])
    targets: list[str] = []
    settings: dict[str, Any] = {}
    rest = iter(words[1:])
    for word in rest:
        if word.startswith("--"):
            _take(kind, word, rest, settings)
        else:
            targets.append(word)
    for option in reversed(kind.positional):
        if len(targets) > kind.least:
            settings[option.name] = targets.pop()
    return make(kind.name, targets, settings)


def _take(kind: Kind, word: str, rest: Iterator[str], settings: dict[str, Any]) -> None:
    name, equals, value = word[2:].partition("=")
    option = next((one for one in kind.options if one.name == name.replace("-", "_")), None)
    if option is None:
        names = [f"--{one.name.replace('_', '-')}" for one in kind.options]
        raise LagoError(f"{kind.name} does not take --{name}", hint=near(f"--{name}", names))
    if not option.metavar:
        settings[option.name] = True
        return
    if not equals:
        value = next(rest, "")
    if option.many:
        settings.setdefault(option.name, []).append(value)
    else:
        settings[option.name] = value


def spell(fault: Fault) -> str:
    """A fault as it is written on a command line."""
    kind = KINDS.get(fault.kind)
    if kind is None:
        return " ".join([fault.kind, *fault.targets])
    words = [fault.kind, *([kind.between.join(fault.targets)] if fault.targets else [])]
    words += [one.spell(fault.settings[one.name]) for one in kind.positional if one.name in fault.settings]
    for option in kind.options:
        if option.name in fault.settings:
            value, said = fault.settings[option.name], f"--{option.name.replace('_', '-')}"
            values = value if option.many else [value]
            words += [said] if not option.metavar else [f"{said} {option.spell(one)}" for one in values]
    return " ".join(words)
