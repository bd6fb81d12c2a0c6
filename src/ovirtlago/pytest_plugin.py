"""Fixtures and markers for tests of oVirt environments; see docs/ovirt-testing.md.

pytest loads this module in every run in which Lago is installed, so what a test needs is imported when it needs it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Final

import pytest

from .constants import PREFIX_VARIABLE

if TYPE_CHECKING:
    from ovirtsdk4 import Connection

    from .prefix import OvirtPrefix
    from .testing.sequences import Sequence

_MARKERS: Final = (
    "engine_capability(name, ...): skip unless the engine has all of these ovirt-capabilities",
    "host_capability(name, ...): skip unless every host has all of these ovirt-capabilities",
    "ovirt_sequence: of a module or class: after a test failed, the rest of them is skipped",
    "continue_on_failure: when this test of an ovirt_sequence fails, the rest runs all the same",
)
_SEQUENCE: Final = pytest.StashKey["Sequence"]()
_ALL: Final = pytest.StashKey[bool]()
"""Whether all tests are of an oVirt environment, as under `lago ovirt runtest`."""


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    config.stash[_ALL] = PREFIX_VARIABLE in os.environ
    for line in _MARKERS:
        config.addinivalue_line("markers", line)


@pytest.fixture(scope="session")
def ovirt_prefix() -> Iterator[OvirtPrefix]:
    """Environment that is tested, an `OvirtPrefix`: that of `LAGO_PREFIX`, or of the working directory.

    Scope: session. Nothing is started or stopped for it; when the session ends its connection to libvirt is closed. It
    costs nothing. Without an environment it raises PrefixError.
    """
    from .testlib import get_test_prefix

    prefix = get_test_prefix()
    yield prefix
    prefix.virt_env.close()


@pytest.fixture
def ovirt_api(ovirt_prefix: OvirtPrefix) -> Connection:
    """Connection of `ovirtsdk4` to the engine of `ovirt_prefix`.

    Scope: function, but tests share the connection as long as it works, and it stays open when they end. It costs a
    login at the engine when it has to be made.
    """
    return ovirt_prefix.virt_env.the_engine().get_api()


# Before pytest's own, which reads the marker `skip`.
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what makes no sense: after a failure in a sequence, and where machines can't do it."""
    broken = (sequence.reason() for sequence in _sequences(item))
    if reason := next(filter(None, broken), "") or _lacking(item):
        item.add_marker(pytest.mark.skip(reason=reason))


def _sequences(item: pytest.Item) -> Iterator[Sequence]:
    for node, _ in item.iter_markers_with_node("ovirt_sequence"):
        from .testing.sequences import Sequence

        # Functions that are marked themselves make a sequence with others that are, beside them.
        owner = item.parent if node is item and item.parent is not None else node
        yield owner.stash.setdefault(_SEQUENCE, Sequence())


def _lacking(item: pytest.Item) -> str:
    of_engine, of_hosts = (
        [name for mark in item.iter_markers(marker) for name in mark.args]
        for marker in ("engine_capability", "host_capability")
    )
    if not of_engine and not of_hosts:
        return ""
    from .testing.capabilities import lacking_of_engine, lacking_of_hosts
    from .testlib import get_test_prefix

    env = get_test_prefix().virt_env
    lacking = lacking_of_engine(env, of_engine) if of_engine else ""
    return lacking or (lacking_of_hosts(env, of_hosts) if of_hosts else "")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note failures of sequences, and collect what the machines have to tell about a failure."""
    report = yield
    if report.failed:
        if item.get_closest_marker("continue_on_failure") is None:
            for sequence in _sequences(item):
                sequence.failed(item.name)
        if "ovirt_prefix" in getattr(item, "fixturenames", ()) or item.config.stash[_ALL]:
            _collect(report, call)
    return report


def _collect(failed: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
    from lago import LagoError
    from lago.environment.report import file_name, of_environment, of_error

    from .testlib import get_test_prefix

    failed.sections += of_error(call.excinfo and call.excinfo.value)
    try:
        prefix = get_test_prefix()
        env = prefix.virt_env
    except LagoError:
        # Then this is what the test failed of.
        return
    name = f"{file_name(failed.nodeid)}-{time.strftime('%Y%m%d%H%M%S')}"
    dest = prefix.paths.test_logs(name)
    failed.sections += of_environment(prefix.paths, env.get_vms(), dest, prefix.collect_artifacts)
