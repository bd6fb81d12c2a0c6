"""A fork that is made while a test runs, for the next one that wants one."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from .. import sdk
from ..environment.prefix import Prefix
from ..errors import LagoError
from ..log import LOG
from . import admission


class Taken(NamedTuple):
    """A fork that stands paused, with its share of the memory, which whoever takes it frees."""

    fork: sdk.Env
    claim: admission.Claim
    resources: contextlib.ExitStack


class Ahead:
    """Makes a fork in a thread, whose machines stand paused; it is taken, or discarded.

    Args:
        env: what it is a fork of.
        snapshot: the instant that it goes on from.
        claim: its share of the memory.
        resources: what frees that.
    """

    def __init__(self, env: sdk.Env, snapshot: str, claim: admission.Claim, resources: contextlib.ExitStack) -> None:
        self.env = env
        self._snapshot = snapshot
        self._claim = claim
        self._resources = resources
        self._origin = Path(env.get_paths().prefix())
        self._place = self._origin.parent / f"fork-{os.urandom(4).hex()}"
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lago-fork")
        self._made = self._pool.submit(self._make)

    def _make(self) -> sdk.Env:
        # The test has the machines of the other one meanwhile.
        with sdk.load_env(self._origin.parent) as origin:
            return origin.fork(self._place, self._snapshot, paused=True)

    def take(self) -> Taken | None:
        """Return the fork when it is made; None if it could not be, and nothing is left of it."""
        try:
            made = self._made.result()
        except (LagoError, OSError) as error:
            LOG.debug("no fork could be made ahead: %s", error)
            self.discard()
            return None
        self._pool.shutdown()
        return Taken(made, self._claim, self._resources.pop_all())

    def discard(self) -> None:
        """Wait until nobody makes the fork any more, and remove what is there of it. Raises LagoError."""
        self._pool.shutdown(cancel_futures=True)
        with self._resources:
            if os.path.exists(self._place):
                Prefix(str(self._place)).destroy()
