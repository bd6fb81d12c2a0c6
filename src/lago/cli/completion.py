"""Completion of words in a shell, by argcomplete: commands and options, and names of what there is."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from .. import config
from ..constants import SNAPSHOT_COMMANDS
from ..errors import LagoError
from .parser import Commands, actions

if TYPE_CHECKING:
    from ..environment.prefix import Prefix


def complete() -> None:
    """Answer the shell, and end."""
    import argcomplete

    from .main import build_parser

    parser, commands = build_parser(None)
    attach(parser)
    for one in commands.choices.values():
        attach(one)
    argcomplete.autocomplete(parser)


def attach(parser: argparse.ArgumentParser) -> None:
    """Give the arguments of a parser, and of those below it, what completes them."""
    for action in actions(parser):
        if isinstance(action, Commands):
            for one in action.choices.values():
                attach(one)
        elif action.dest in _COMPLETERS and not hasattr(action, "completer"):
            action.completer = _COMPLETERS[action.dest]  # type: ignore[attr-defined]


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    # Where there is no environment there is nothing to complete, and nobody to tell.
    with contextlib.suppress(LagoError, OSError):
        yield


def _setting(args: argparse.Namespace, name: str) -> Any:
    given = getattr(args, name, None)
    return config.get(name) if given is None else given


def machines(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Names of the environment's machines."""
    with _quietly():
        return list(_prefix(parsed_args).topology.domains)
    return []


def snapshots(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Names of the environment's snapshots."""
    with _quietly():
        return list(_prefix(parsed_args).snapshots())
    return []


def doomed_snapshots(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Names of the environment's snapshots, behind the word `delete`."""
    return snapshots(parsed_args) if parsed_args.new_snapshot == "delete" else []


def snapshot_commands(**_: Any) -> list[str]:
    """Words that can stand in place of the name of a new snapshot."""
    return [*SNAPSHOT_COMMANDS]


def _prefix(parsed_args: argparse.Namespace) -> Prefix:
    from ..environment.workdir import find_prefix

    prefix_path, workdir_path, name = (
        _setting(parsed_args, key) for key in ("prefix_path", "workdir_path", "prefix_name")
    )
    return find_prefix(prefix_path, workdir_path, name)


def prefixes(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Names of the workdir's prefixes."""
    from ..environment.workdir import find_workdir

    with _quietly():
        return find_workdir(_setting(parsed_args, "workdir_path") or os.getcwd()).prefixes()
    return []


def templates(**_: Any) -> list[str]:
    """Names of the repository's templates."""
    from ..templates import default_repository

    with _quietly():
        return list(default_repository().names())
    return []


def capsules(**_: Any) -> list[str]:
    """Names of the capsules that there are."""
    from ..environment.capsule import shelf

    with _quietly():
        return shelf.names()
    return []


_COMPLETERS: Final[dict[str, Callable[..., list[str]]]] = {
    "vm_names": machines,
    "host": machines,
    "prefix_name": prefixes,
    "current_name": prefixes,
    "name": templates,
    "new_snapshot": snapshot_commands,
    "old_snapshot": doomed_snapshots,
    "snapshot_name": snapshots,
    "delete": snapshots,
    "capsule_name": capsules,
    "capsule_names": capsules,
    "from_snapshot": snapshots,
}
"""What completes an argument, by the name it has in the parsed command line."""
