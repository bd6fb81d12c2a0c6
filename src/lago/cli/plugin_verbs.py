"""Verbs that plugins add."""

from __future__ import annotations

import argparse
import copy
import functools
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from .. import plugins
from ..log import LOG
from .parser import Verbs, remove_verb
from .result import Outcome

if TYPE_CHECKING:
    from ..plugins.cli import CLIPlugin


def add_parsers(verbs: Verbs[argparse.ArgumentParser], words: Collection[str] | None) -> None:
    """Add the verbs of plugins to the command line; of all plugins, or of those whose name is among `words`."""
    for entry in plugins.entries(plugins.CLI):
        if words is not None and entry.name not in words:
            continue
        if entry.name in verbs.choices:
            LOG.warning("plugin %s of package %s is left out: there is a verb of that name", entry.name, entry.package)
            continue
        plugin = plugins.load_one(entry)
        if plugin is not None:
            _add(verbs, entry, plugin)


def _add(verbs: Verbs[argparse.ArgumentParser], entry: plugins.Entry, plugin: CLIPlugin) -> None:
    try:
        parser = verbs.add_parser(entry.name, **plugin.init_args)
        plugin.populate_parser(parser)
    except Exception as error:
        remove_verb(verbs, entry.name)
        LOG.warning("plugin %s of package %s is left out: %s", entry.name, entry.package, error)
        LOG.debug("%s", entry.value, exc_info=error)
        return
    parser.set_defaults(run=functools.partial(_run, plugin))


def _run(plugin: CLIPlugin, args: argparse.Namespace) -> Any:
    theirs = copy.copy(args)
    del theirs.run
    result = plugin.do_run(theirs)
    if isinstance(result, int) and not isinstance(result, bool):
        return Outcome(None, result)
    return result
