"""Commands that plugins add."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from .. import plugins
from ..log import LOG
from .commands import NAMES
from .parser import Commands, remove_command
from .result import Outcome

if TYPE_CHECKING:
    from ..plugins.cli import CLIPlugin


def add_parsers(commands: Commands[argparse.ArgumentParser], words: Collection[str] | None) -> None:
    """Add the commands of plugins to the command line; of all plugins, or of those whose name is among `words`."""
    for entry in plugins.entries(plugins.CLI):
        if words is not None and entry.name not in words:
            continue
        if entry.name in NAMES or entry.name in commands.choices:
            LOG.warning(
                "plugin %s of package %s is left out: there is a command of that name", entry.name, entry.package
            )
            continue
        plugin = plugins.load_one(entry)
        if plugin is not None:
            _add(commands, entry, plugin)


def _add(commands: Commands[argparse.ArgumentParser], entry: plugins.Entry, plugin: CLIPlugin) -> None:
    try:
        parser = commands.add_parser(entry.name, **plugin.init_args)
        plugin.populate_parser(parser)
    except Exception as error:
        remove_command(commands, entry.name)
        LOG.warning("plugin %s of package %s is left out: %s", entry.name, entry.package, error)
        LOG.debug("%s", entry.value, exc_info=error)
        return
    parser.set_defaults(run=functools.partial(_run, plugin))


def _run(plugin: CLIPlugin, args: argparse.Namespace) -> Any:
    theirs = argparse.Namespace(**vars(args))
    del theirs.run
    result = plugin.do_run(theirs)
    if isinstance(result, int) and not isinstance(result, bool):
        return Outcome(None, result)
    return result
