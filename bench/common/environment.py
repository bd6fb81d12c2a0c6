"""An environment of small machines on one network, made with the command line."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from lago.environment.prefix import Prefix

from . import LAGO, room, say, timed, undisturbed

MEMORY_MIB = 128
"""Of each machine."""


class Environment:
    """An environment of `vms` machines `vm0`, `vm1` and so on, below the directory `where`.

    `scripts` are run in each by `lago deploy`; `memory` is in MiB.
    """

    def __init__(
        self, where: Path, vms: int, template: str = "mini", memory: int = MEMORY_MIB, scripts: Sequence[Path] = ()
    ) -> None:
        machine = {
            "memory": memory,
            "vcpu": 1,
            "nics": [{"net": "net0"}],
            "disks": [{"template_name": template}],
            "metadata": {"deploy-scripts": [str(script) for script in scripts]},
        }
        wanted = {"domains": {f"vm{n}": machine for n in range(vms)}, "nets": {"net0": {"management": True}}}
        self.room = where
        self._init_file = where / "LagoInitFile"
        self._init_file.write_text(json.dumps(wanted), encoding="utf-8")
        self._workdir = where / "environment"
        self.path = self._workdir / "default"

    @property
    def prefix(self) -> Prefix:
        """It, for Python."""
        return Prefix(str(self.path))

    def init(self) -> float:
        """Make it; seconds that took."""
        return timed(LAGO, "--libvirt_url", "private", "-P", "default", "init", self._workdir, self._init_file)

    def up(self) -> float:
        """Make, start and deploy it, from what was kept of one like it if there is such; seconds that took."""
        return timed(LAGO, "--libvirt_url", "private", "-P", "default", "up", "--warm", self._workdir, self._init_file)

    def fork(self, name: str) -> Environment:
        """The fork of that name beside it."""
        fork = copy.copy(self)
        fork.path = self.path.with_name(name)
        return fork

    def lago(self, *words: str) -> float:
        """Run a command on it; seconds that took."""
        return timed(LAGO, "--prefix-path", self.path, *words)

    def destroy(self) -> None:
        """Remove it, if it is there."""
        if self.path.exists():
            self.lago("destroy", "--yes")


@contextlib.contextmanager
def environment(vms: int, template: str = "mini", memory: int = MEMORY_MIB) -> Iterator[Environment]:
    """A room and an environment in it, not yet made, that is destroyed at the end."""
    with room() as where:
        one = Environment(where, vms, template, memory)
        try:
            yield one
        finally:
            with undisturbed():
                one.destroy()


def fetch_template() -> None:
    """See to it that the image is in the store, and that nothing is done for the first time when it is measured."""
    say("warm-up: lago init, builds the template if it is not in the store")
    with environment(1) as one:
        one.init()
