"""The environments of one pytest process: made, told about, ended."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from .. import sdk
from ..environment import report
from ..environment.captures.capturing import Capturing
from ..environment.prefix import Prefix
from ..errors import LagoError
from ..journal import calls
from ..log import LOG
from . import admission, capsules, evidence, home, journals, options, prepare, reports
from .ahead import Ahead
from .capsules import Kept

PRISTINE: Final = "pytest-pristine"
"""The snapshot that forks come from, taken when an environment has just come up."""

_ENV: Final = "lago_env"
_FORK: Final = "lago_fork"
_FROM_PRISTINE: Final = {_FORK, "lago_pristine"}

_RESERVE: Final = 64
"""MiB that a machine of a fork may write before anybody looks again."""

_OWN: Final = 64
"""MiB that its QEMU needs for itself."""

_NODES: Final[Mapping[str, type[pytest.Item | pytest.Collector]]] = {
    "package": pytest.Package,
    "module": pytest.Module,
    "class": pytest.Class,
}


@dataclass(eq=False)
class Used:
    """An environment, with what has to be given back when it ends."""

    env: sdk.Env
    name: str
    failed: bool = False
    captured: Capturing | None = None
    resources: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)


class Environments:
    """All that are there now; `kept` are the prefixes of those that stay, `capsules` what came of failed tests'."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._collect = options.collect(config)
        self._keep = options.keep(config)
        self._report = options.report(config)
        self._report_dir = options.report_dir(config)
        self._memory = options.memory(config)
        self._kept = options.kept(config)
        self._captures = options.capture(config)
        self._in_test = False
        self._resources = contextlib.ExitStack()
        self._home: Path | None = None
        self._made = 0
        self._scope = options.scope("lago_env", config)
        self._ahead: Ahead | None = None
        self._live: list[Used] = []
        self._capsule = options.capsule(config)
        self.kept: list[str] = []
        calls.is_done_by("pytest")
        self.capsules: list[Kept] = []

    def prepared(self, request: pytest.FixtureRequest, init_file: str | Path) -> sdk.Env:
        """As `up`, for tests that share what they find, which is prepared as they want it."""
        # First, as a boot would be in vain.
        steps = prepare.steps(request.config.pluginmanager, self._sharing(request))
        return self.up(request, init_file, steps)

    def up(
        self,
        request: pytest.FixtureRequest,
        init_file: str | Path | Mapping[str, Any],
        steps: Iterable[prepare.Step] = (),
    ) -> sdk.Env:
        """Make an environment, start it, deploy it and take steps; it ends with the scope of the fixture."""
        name = self._name(request)
        env = sdk.init(init_file, self._place() / name)
        self._add(request, env, name, sum(vm.spec.memory for vm in env.get_vms().values()))
        env.start()
        env.deploy()
        prepare.run(steps, env)
        if any(_FROM_PRISTINE & set(getattr(item, "fixturenames", ())) for item in request.session.items):
            env.create_snapshots(PRISTINE)
        if self._in_test:
            self._capture()
        return env

    def _sharing(self, request: pytest.FixtureRequest) -> list[Path]:
        """Paths of the tests that share the `lago_env` of a test."""
        users = [one for one in request.session.items if _ENV in getattr(one, "fixturenames", ())]
        # What pytest takes for the scope: of a fixture of a plugin, a package is the whole session.
        return [one.path for one in users if request.node in one.listchain()]

    def fork(self, request: pytest.FixtureRequest, env: sdk.Env) -> sdk.Env:
        """Fork an environment as it was when it had just come up; it ends with the scope of the fixture.

        If a later test wants a fork of it too, that is made meanwhile, if memory admits it.
        """
        name = f"{self._name(request)}-fork"
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.env is not env:
            ahead.discard()
            ahead = None
        if ahead is not None and (taken := ahead.take()) is not None:
            fork, claim = taken.fork, taken.claim
            self._follow(request, Used(fork, name, resources=taken.resources))
            for vm in fork.get_vms().values():
                vm.env.resume()
        else:
            fork = env.fork(snapshot=PRISTINE)
            claim = self._add(request, fork, name, _needed(fork))
        if processes := _processes(fork):
            claim.measure(processes, _reserve(fork))
        if self._wanted_again(request):
            self._make_ahead(env)
        return fork

    def _wanted_again(self, request: pytest.FixtureRequest) -> bool:
        """Whether a later test wants a fork of the same environment."""
        node, items = request.node, request.session.items
        if node not in items or self._scope == "function":
            return False
        later = [one for one in items[items.index(node) + 1 :] if _FORK in getattr(one, "fixturenames", ())]
        kind = _NODES.get(self._scope)
        return any(kind is None or one.getparent(kind) is node.getparent(kind) for one in later)

    def _make_ahead(self, env: sdk.Env) -> None:
        resources = contextlib.ExitStack()
        if (claim := admission.spare(_needed(env), self._memory, resources)) is not None:
            self._ahead = Ahead(env, PRISTINE, claim, resources)

    def pristine(self, env: sdk.Env) -> sdk.Env:
        """Revert the environment to how it was when it had just come up, and return it."""
        env.revert_snapshots(PRISTINE)
        return env

    def _add(self, request: pytest.FixtureRequest, env: sdk.Env, name: str, mib: int) -> admission.Claim:
        used = Used(env, name)
        alone = not self._live
        self._follow(request, used)
        return used.resources.enter_context(admission.admitted(mib, self._memory, self._say, wait=alone))

    def _follow(self, request: pytest.FixtureRequest, used: Used) -> None:
        self._live.append(used)
        if (test := self._config.stash.get(journals.TEST, None)) is not None:
            self.join(test, used)
        # What comes up badly ends no earlier, so that it can be told about.
        request.addfinalizer(lambda: self._end(used))

    def join(self, test: journals.Test, *some: Used) -> None:
        """Tell the journals of environments, of all without any, that a test has them."""
        for used in some or self._live:
            for vm in list(used.env.get_vms().values())[:1]:
                test.join(vm.journal)

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

    def shows(self, report: pytest.TestReport) -> bool:
        """Whether there is to be a page of what a test has done by now."""
        return reports.wanted(report, self._report)

    def show(self, report: pytest.TestReport) -> list[str]:
        """Write a page of each environment that a test has, if that is wanted, and return what to say of it."""
        if not self.shows(report):
            return []
        return [reports.write(used.env, used.name, report, self._report_dir) for used in self._live]

    def keep_instant(self, item: pytest.Item, failed: pytest.TestReport) -> None:
        """Make a capsule of a failed test, if capsules are wanted; what comes of it is a property of the test."""
        if not self._capsule or not self._live:
            return
        prefixes = {used.name: Prefix(used.env.get_paths().prefix()) for used in self._live}
        kept = capsules.make(failed.nodeid, prefixes)
        self.capsules.append(kept)
        if kept.name:
            for properties in (item.user_properties, failed.user_properties):
                properties.append(("lago_capsule", kept.name))
            failed.sections.append(("lago capsule", f"lago capsule open {kept.name}"))

    def begin_test(self) -> None:
        """Begin to capture, if that is wanted: what the fixtures of a test made is ready, and it is about to be called.

        Raises:
            LagoError: it can't be done here.
        """
        self._in_test = self._captures
        self._capture()

    def _capture(self) -> None:
        for used in self._live if self._captures else ():
            if used.captured is None:
                used.captured = evidence.begin(used.env)

    def end_test(self, called: pytest.TestReport) -> list[tuple[str, str]]:
        """End captures, and keep their files if the test failed; the properties that say where they are."""
        self._in_test = False
        found = []
        for used in self._live:
            captured, used.captured = used.captured, None
            if captured is not None:
                dest = self._dest(self._kept, called, used) / "captures" if called.failed else None
                found += [(evidence.PACKETS, path) for path in evidence.end(captured, dest)]
        return found

    @staticmethod
    def _dest(base: Path, told: pytest.TestReport, used: Used) -> Path:
        return base / report.file_name(told.nodeid) / used.name

    def tell(self, failed: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
        """Attach to the report of a failed test what the error and its environments have to tell."""
        failed.sections += report.of_error(call.excinfo and call.excinfo.value)
        for used in self._live:
            used.failed = True
            env = used.env
            dest = None if self._collect is None else self._dest(self._collect, failed, used)
            failed.sections += report.of_faults(env.fault_timeline())
            failed.sections += report.of_environment(
                env.get_paths(), env.get_vms(), str(dest or ""), env.collect_artifacts
            )
            # Behind what is collected, which takes the place of what was there.
            failed.sections += evidence.of_screens(env, dest and dest / "screens")

    def _end(self, used: Used) -> None:
        if used not in self._live:
            return
        self._live.remove(used)
        with used.resources:
            try:
                if self._ahead is not None and self._ahead.env is used.env:
                    ahead, self._ahead = self._ahead, None
                    ahead.discard()
            finally:
                if used.captured is not None:
                    # The test was interrupted.
                    used.captured.stop()
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


def _reserve(env: sdk.Env) -> int:
    """MiB that the machines of a fork may write next: no more than they have."""
    return sum(min(vm.spec.memory, _RESERVE) for vm in env.get_vms().values())


def _needed(env: sdk.Env) -> int:
    """MiB that a fork needs at first."""
    return _reserve(env) + _OWN * len(env.get_vms())


def _processes(env: sdk.Env) -> list[int]:
    """The processes of the machines of a fork, where they can be looked at."""
    vms = [vm for vm in env.get_vms().values() if vm.provider is None]
    return [pid for vm in vms if (pid := vm.env.hypervisor.process(vm.libvirt_name())) is not None]
