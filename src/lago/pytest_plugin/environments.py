"""The environments of one pytest process: made, told about, ended."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from .. import sdk
from ..environment import report
from ..errors import LagoError
from ..log import LOG
from . import admission, home, options

PRISTINE: Final = "pytest-pristine"
"""The snapshot that forks come from, taken when an environment has just come up."""

_FROM_PRISTINE: Final = {"lago_fork", "lago_pristine"}


@dataclass(eq=False)
class Used:
    """An environment, with what has to be given back when it ends."""

    env: sdk.Env
    name: str
    failed: bool = False
    resources: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)


class Environments:
    """All that are there now; `kept` are the prefixes of those that stay."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._collect = options.collect(config)
        self._keep = options.keep(config)
        self._memory = options.memory(config)
        self._resources = contextlib.ExitStack()
        self._home: Path | None = None
        self._made = 0
        self._live: list[Used] = []
        self.kept: list[str] = []

    def up(self, request: pytest.FixtureRequest, init_file: str | Path | Mapping[str, Any]) -> sdk.Env:
        """Make an environment, start it and deploy it; it ends with the scope of the fixture."""
        name = self._name(request)
        env = sdk.init(init_file, self._place() / name)
        self._add(request, env, name)
        env.start()
        env.deploy()
        if any(_FROM_PRISTINE & set(getattr(item, "fixturenames", ())) for item in request.session.items):
            env.create_snapshots(PRISTINE)
        return env

    def fork(self, request: pytest.FixtureRequest, env: sdk.Env) -> sdk.Env:
        """Fork an environment as it was when it had just come up; it ends with the scope of the fixture."""
        fork = env.fork(snapshot=PRISTINE)
        self._add(request, fork, f"{self._name(request)}-fork")
        return fork

    def pristine(self, env: sdk.Env) -> sdk.Env:
        """Revert the environment to how it was when it had just come up, and return it."""
        env.revert_snapshots(PRISTINE)
        return env

    def _add(self, request: pytest.FixtureRequest, env: sdk.Env, name: str) -> None:
        used = Used(env, name)
        alone = not self._live
        self._live.append(used)
        # What comes up badly ends no earlier, so that it can be told about.
        request.addfinalizer(lambda: self._end(used))
        mib = sum(vm.spec.memory for vm in env.get_vms().values())
        used.resources.enter_context(admission.admitted(mib, self._memory, self._say, wait=alone))

    def _name(self, request: pytest.FixtureRequest) -> str:
        self._made += 1
        return f"{self._made}-{report.file_name(request.node.name) if request.scope != 'session' else 'session'}"

    def _place(self) -> Path:
        if self._home is None:
            worker = getattr(self._config, "workerinput", {}).get("workerid", "main")
            self._home = self._resources.enter_context(home.held(options.workdir(self._config), worker))
        return self._home

    def _say(self, text: str) -> None:
        """Tell whoever waits for pytest; workers of pytest-xdist have the same standard error."""
        capture = self._config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            print(f"\n{text}", file=sys.__stderr__, flush=True)

    def describe(self, item: pytest.Item) -> None:
        """Add to a test the properties that say where it runs, for JUnit's XML among others."""
        for used in self._live:
            item.user_properties.append(("lago_environment", used.env.get_paths().prefix()))
            item.user_properties.append(("lago_vms", report.states(used.env.get_vms())))

    def tell(self, failed: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
        """Attach to the report of a failed test what the error and its environments have to tell."""
        failed.sections += report.of_error(call.excinfo and call.excinfo.value)
        for used in self._live:
            used.failed = True
            env = used.env
            dest = "" if self._collect is None else str(self._collect / report.file_name(failed.nodeid) / used.name)
            failed.sections += report.of_environment(env.get_paths(), env.get_vms(), dest, env.collect_artifacts)

    def _end(self, used: Used) -> None:
        if used not in self._live:
            return
        self._live.remove(used)
        with used.resources:
            if self._keep == "always" or (self._keep == "failed" and used.failed):
                self.kept.append(used.env.get_paths().prefix())
            elif os.path.exists(used.env.get_paths().prefix()):
                used.env.destroy()

    def close(self) -> None:
        """End all that are left."""
        with self._resources:
            for used in reversed(self._live.copy()):
                try:
                    self._end(used)
                except LagoError as error:
                    LOG.error("%s can't be removed: %s", used.env, error.render())
