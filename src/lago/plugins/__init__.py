"""Plugins: what other packages add to Lago by entry points.

| group | what an entry point names | contract |
|---|---|---|
| `lago.plugins.cli` | a command | `cli.CLIPlugin`: a class, made without arguments, or an instance |
| `lago.plugins.output` | an output format | `output.OutFormatPlugin`: a class, made without arguments, or an instance |
| `lago.plugins.vm` | a kind of machine | `contracts.VMPlugin`: a class |
| `lago.plugins.vm_provider` | what runs a machine | `contracts.VMProviderPlugin`: a class |
| `lago.plugins.vm_service` | a service manager of guests | `contracts.ServicePlugin`: a class |

A plugin that can't be loaded, or does not keep its contract, is named in a warning and left out.

Looking through all installed packages takes longer than most commands, so what was found is kept in the cache directory
until a directory of Python's search path changes.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import zlib
from typing import Any, Final, NamedTuple

from .. import config
from ..host.files import json_text, write_atomically
from ..log import LOG

PREFIX: Final = "lago.plugins."
CLI: Final = f"{PREFIX}cli"
OUTPUT: Final = f"{PREFIX}output"
VM: Final = f"{PREFIX}vm"
VM_PROVIDER: Final = f"{PREFIX}vm_provider"
VM_SERVICE: Final = f"{PREFIX}vm_service"

_MOST: Final = 1 << 20
"""Bytes of what is kept of which plugins there are."""

_CONTRACTS: Final[dict[str, tuple[str, ...]]] = {
    CLI: ("init_args", "populate_parser", "do_run"),
    OUTPUT: ("format",),
    VM_PROVIDER: (
        "start",
        "stop",
        "shutdown",
        "reboot",
        "bootstrap",
        "state",
        "running",
        "create_snapshot",
        "revert_snapshot",
    ),
    VM_SERVICE: ("BIN_PATH", "state", "is_supported"),
}
"""What a plugin of each group must have."""

_MADE: Final = (CLI, OUTPUT)
"""Groups whose plugins are objects; those of the others are classes."""


class Entry(NamedTuple):
    """An entry point: `name` in `group` stands for the object `value`, `module:attribute`, of `package`."""

    group: str
    name: str
    value: str
    package: str


def entries(group: str) -> list[Entry]:
    """Entry points of a group; none of them is loaded.

    Args:
        group: such as `lago.plugins.cli`, or only its last word: `cli`.
    """
    group = group if group.startswith("lago.") else f"{PREFIX}{group}"
    return [entry for entry in _all() if entry.group == group]


def load(group: str) -> dict[str, Any]:
    """Load all plugins of a group, and return them by name without those that are broken.

    Args:
        group: such as `lago.plugins.cli`, or only its last word: `cli`.
    """
    loaded = {entry.name: load_one(entry) for entry in entries(group)}
    return {name: plugin for name, plugin in loaded.items() if plugin is not None}


def load_one(entry: Entry) -> Any:
    """Load a plugin, and return it.

    Args:
        entry: its entry point.

    Returns:
        An object for a command or an output format, a class for the others; None, with a warning, if it can't be loaded
        or does not keep its contract.
    """
    try:
        module, _, attribute = entry.value.partition(":")
        plugin: Any = importlib.import_module(module.strip())
        for part in attribute.split("[")[0].strip().split(".") if attribute else ():
            plugin = getattr(plugin, part)
        if entry.group in _MADE and isinstance(plugin, type):
            plugin = plugin()
        missing = [name for name in _CONTRACTS.get(entry.group, ()) if not hasattr(plugin, name)]
        if missing:
            raise TypeError(f"it has no {', '.join(missing)}")
    except (Exception, SystemExit) as error:
        LOG.warning(
            "plugin %s of package %s is left out: %s: %s", entry.name, entry.package, type(error).__name__, error
        )
        LOG.debug("%s", entry.value, exc_info=error)
        return None
    return plugin


def _all() -> list[Entry]:
    places = list(dict.fromkeys(os.path.abspath(place) for place in sys.path))
    stamp = [[place, _changed(place)] for place in places]
    cache = os.path.join(config.cache_home(), f"plugins-{zlib.crc32(os.pathsep.join(places).encode()):08x}.json")
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError), open(cache, "rb") as file:
        # Not by `lago.host.shape`, which most commands do without.
        kept = json.loads(file.read(_MOST))
        if kept["stamp"] == stamp:
            return [Entry(*entry) for entry in kept["entries"]]
    found = _look()
    # A place that can't be written to only costs time.
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(cache), exist_ok=True)
        write_atomically(cache, json_text({"stamp": stamp, "entries": found}), 0o600)
    return found


def _changed(place: str) -> int:
    try:
        return os.stat(place).st_mtime_ns
    except OSError:
        return 0


def _look() -> list[Entry]:
    from importlib.metadata import distributions

    found: dict[Entry, None] = {}
    for distribution in distributions():
        # Reading one file of each package is several times quicker than asking for parsed entry points.
        text = distribution.read_text("entry_points.txt")
        if not text or f"[{PREFIX}" not in text:
            continue
        package = distribution.metadata["Name"]
        for point in distribution.entry_points:
            if point.group.startswith(PREFIX):
                found[Entry(point.group, point.name, point.value, package)] = None
    return list(found)
