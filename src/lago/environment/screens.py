"""What machines showed at an instant, kept in the prefix: pictures of screens, or the end of what consoles said."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Final

from ..errors import LagoError
from ..host.files import write_atomically
from ..host.parallel import in_parallel
from ..host.programs import tail
from ..journal.writing import Journal
from ..log import LOG
from ..paths import Paths
from ..virt import VM

_LINES: Final = 200
"""Lines of a console that are kept."""


def keep(paths: Paths, vms: Iterable[VM]) -> list[str]:
    """Keep what machines show now, and write so to the journal.

    It is a picture of a screen where there is one, and else the end of the console log, as text.

    Returns:
        Paths of the files, in the order of the machines; one that can't be written is left out.
    """
    os.makedirs(paths.screens(), mode=0o700, exist_ok=True)
    now = time.time()
    stamp = f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}-{int(now * 1000) % 1000:03}"
    journal = Journal(paths.prefix())
    found: dict[str, str] = {}

    def one(vm: VM) -> None:
        try:
            path = _keep(vm, paths.screens(f"{vm.name()}-{stamp}"))
        except (LagoError, OSError) as error:
            LOG.warning("what %s shows can't be kept: %s", vm.name(), error)
            return
        found[vm.name()] = path
        form = os.path.splitext(path)[1][1:]
        journal.event("screen", vm=vm.name(), file=os.path.relpath(path, paths.prefix()), form=form)

    vms = list(vms)
    in_parallel(one, vms, what="keep screens")
    return [found[vm.name()] for vm in vms if vm.name() in found]


def _keep(vm: VM, base: str) -> str:
    try:
        if vm.provider is None and vm.alive():
            vm.screenshot(f"{base}.png")
            return f"{base}.png"
    except LagoError as error:
        LOG.debug("%s has no picture: %s", vm.name(), error)
    write_atomically(f"{base}.txt", tail(vm.console_text(), _LINES) + "\n", 0o600)
    return f"{base}.txt"
