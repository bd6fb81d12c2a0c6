"""Environments as fixtures of pytest; see docs/pytest.md.

pytest loads this module in every run in which Lago is installed, so what a test needs is imported when it needs it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from . import journals, options

if TYPE_CHECKING:
    from ..sdk import Env
    from ..virt import VM
    from .environments import Environments

Factory = Callable[[str | Path | Mapping[str, Any]], "Env"]
"""Makes, starts and deploys an environment from an init file, or from what one would say."""

_ENVIRONMENTS = pytest.StashKey["Environments"]()
_KEPT = pytest.StashKey[list[str]]()
_CAPSULES = pytest.StashKey[list[tuple[str, ...]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and their settings in ini files."""
    options.add(parser)


def _environments(config: pytest.Config) -> Environments:
    if _ENVIRONMENTS not in config.stash:
        from .environments import Environments

        config.stash[_ENVIRONMENTS] = Environments(config)
    return config.stash[_ENVIRONMENTS]


@pytest.fixture(scope=options.scope)
def lago_init_file(pytestconfig: pytest.Config) -> Path:
    """Init file of `lago_env`, a `Path`: that of the option `--lago-init-file`.

    A `conftest.py` or a module that defines it has another one. Scope: that of `lago_scope`, the session if nothing
    else is said. It costs nothing.
    """
    return options.init_file(pytestconfig)


@pytest.fixture(scope=options.scope)
def lago_env(request: pytest.FixtureRequest, lago_init_file: Path) -> Env:
    """Running environment, a `lago.sdk.Env`: made from `lago_init_file`, started and deployed.

    Then `lago_prepare(env)` is called, if a `conftest.py` beside the tests or above them has a function of that name.

    Scope: that of `lago_scope`, the session if nothing else is said; all its tests share one. It is destroyed when the
    scope ends, unless `--lago-keep` says that it stays. It costs a boot of all its machines, at the first test that
    asks for it, and their memory until it ends.
    """
    return _environments(request.config).prepared(request, lago_init_file)


@pytest.fixture(scope=options.scope)
def lago_vms(lago_env: Env) -> Mapping[str, VM]:
    """Machines of `lago_env` by name, each a `lago.virt.VM`.

    Scope: that of `lago_scope`, the session if nothing else is said. They end with `lago_env`, and cost nothing
    besides.
    """
    return lago_env.get_vms()


@pytest.fixture
def lago_fork(request: pytest.FixtureRequest, lago_env: Env) -> Env:
    """Copy of `lago_env` of this test's own, a `lago.sdk.Env`, as that was when it had just come up and was deployed.

    Scope: function. It is destroyed when the test ends, unless `--lago-keep` says that it stays. It costs seconds, not
    a boot, and less if it was made while an earlier test ran; and memory for what its machines write. It needs a
    private hypervisor, the default.
    """
    return _environments(request.config).fork(request, lago_env)


@pytest.fixture
def lago_pristine(request: pytest.FixtureRequest, lago_env: Env) -> Env:
    """`lago_env` itself, gone back to how it was when it had just come up and was deployed.

    Scope: function. It goes on with `lago_env`, as the test left it. It costs seconds, not a boot, and no memory
    besides; what other tests did to `lago_env` is lost. It needs a private hypervisor, the default.
    """
    return _environments(request.config).pristine(lago_env)


@pytest.fixture
def lago_faults(request: pytest.FixtureRequest) -> Iterator[Env]:
    """Environment to break, a `lago.sdk.Env`, in which all is healed when the test ends: `lago_faults.cut("web")`.

    It is the test's `lago_fork` or `lago_pristine`, if it has one, or else `lago_env`. If something can't be healed,
    the test fails. Scope: function. It costs nothing. A test with the marker `lago_fault` has it without asking.
    """
    from . import faults

    timed = faults.wanted(request.node)
    env = request.getfixturevalue(faults.source(request))
    with faults.healed(env, timed):
        yield env


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest of the markers."""
    config.addinivalue_line(
        "markers",
        'lago_fault(*faults, after=0, for_=None): break the environment while the test runs, as "partition web / db", '
        "so many seconds after its begin and for so many; at its end all is healed",
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give tests with the marker `lago_fault` the fixture that obeys it."""
    names = getattr(item, "fixturenames", None)
    if names is not None and "lago_faults" not in names and item.get_closest_marker("lago_fault"):
        names.append("lago_faults")


def _factory(request: pytest.FixtureRequest) -> Factory:
    return lambda init_file: _environments(request.config).up(request, init_file)


@pytest.fixture
def lago_env_factory(request: pytest.FixtureRequest) -> Factory:
    """Function that makes running environments: `make(init_file)` returns a `lago.sdk.Env`, started and deployed.

    An init file is a path, or a mapping of what one would say. Scope: function. They are destroyed when the test ends,
    unless `--lago-keep` says that they stay. Each costs a boot of its machines, and their memory until it ends.
    """
    return _factory(request)


@pytest.fixture(scope="module")
def lago_env_factory_module(request: pytest.FixtureRequest) -> Factory:
    """Function that makes running environments: `make(init_file)` returns a `lago.sdk.Env`, started and deployed.

    An init file is a path, or a mapping of what one would say. Scope: module. They are destroyed when the tests of the
    module end, unless `--lago-keep` says that they stay. Each costs a boot of its machines, and their memory until it
    ends.
    """
    return _factory(request)


@pytest.fixture(scope="session")
def lago_env_factory_session(request: pytest.FixtureRequest) -> Factory:
    """Function that makes running environments: `make(init_file)` returns a `lago.sdk.Env`, started and deployed.

    An init file is a path, or a mapping of what one would say. Scope: session. They are destroyed when all tests end,
    unless `--lago-keep` says that they stay. Each costs a boot of its machines, and their memory until it ends.
    """
    return _factory(request)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say in the report of a test in which environments it ran, and of a failed one what they have to tell."""
    environments = item.config.stash.get(_ENVIRONMENTS, None)
    if environments is None or not _uses(item):
        return (yield)
    if call.when == "call" or (call.when == "setup" and call.excinfo is not None):
        environments.describe(item)
    report = yield
    test = item.config.stash.get(journals.TEST, None)
    if test is not None:
        test.reported(report, ends=environments.shows(report))
    if report.failed:
        # First, as nothing has been asked of the machines yet, and their fixtures have not ended.
        if call.when != "teardown":
            environments.keep_instant(item, report)
        environments.tell(report, call)
    if call.when == "call" and (found := environments.end_test(report)):
        item.user_properties += found
        report.user_properties += found
    if pages := environments.show(report):
        report.sections.append(("lago report", "\n".join(pages)))
        item.user_properties += [one for one in report.user_properties if one not in item.user_properties]
    return report


def _uses(item: pytest.Item) -> bool:
    """Whether a test has an environment."""
    return any(name.startswith("lago_") for name in getattr(item, "fixturenames", ()))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Tell the journals of environments which test has them, and how it ends."""
    if not _uses(item):
        return (yield)
    test = item.config.stash[journals.TEST] = journals.Test(item.nodeid)
    if (environments := item.config.stash.get(_ENVIRONMENTS, None)) is not None:
        environments.join(test)
    try:
        return (yield)
    finally:
        del item.config.stash[journals.TEST]
        test.close()


def _begin(item: pytest.Item, phase: str) -> None:
    if (test := item.config.stash.get(journals.TEST, None)) is not None:
        test.begin(phase)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tell that the test is set up."""
    _begin(item, "setup")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Tell that the test itself begins, and capture its packets, if that is wanted."""
    _begin(item, "call")
    if (environments := item.config.stash.get(_ENVIRONMENTS, None)) is not None:
        environments.begin_test()
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Tell that what the test had ends."""
    _begin(item, "teardown")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """End what an interrupted run left running."""
    config = session.config
    if (environments := config.stash.get(_ENVIRONMENTS, None)) is not None:
        environments.close()
        config.stash.setdefault(_KEPT, []).extend(environments.kept)
        config.stash.setdefault(_CAPSULES, []).extend(environments.capsules)
        if hasattr(config, "workeroutput"):
            config.workeroutput["lago_kept"] = environments.kept
            config.workeroutput["lago_capsules"] = [list(one) for one in environments.capsules]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear from a worker of pytest-xdist what it kept."""
    said = getattr(node, "workeroutput", {})
    node.config.stash.setdefault(_KEPT, []).extend(said.get("lago_kept", []))
    node.config.stash.setdefault(_CAPSULES, []).extend(tuple(one) for one in said.get("lago_capsules", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say where pages and packets are, how environments are opened as they were, and which were kept."""
    if pages := journals.pages(one for some in terminalreporter.stats.values() for one in some):
        terminalreporter.section("what happened in environments")
        for path in pages:
            terminalreporter.line(path)
    if capsules := config.stash.get(_CAPSULES, []):
        from .capsules import Kept, lines

        terminalreporter.section("capsules of failed tests")
        for line in lines(Kept(*one) for one in capsules):
            terminalreporter.line(line)
    if options.capture(config):
        from .evidence import summarise

        summarise(terminalreporter, terminalreporter.stats.get("failed", ()))
    if kept := config.stash.get(_KEPT, []):
        terminalreporter.section("environments that were kept")
        for path in kept:
            terminalreporter.line(f"lago --prefix-path {shlex.quote(str(path))} status")
