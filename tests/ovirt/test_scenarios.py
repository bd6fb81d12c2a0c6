"""The scenarios of examples/ovirt/tests, through the real SDK, against the stand-in for an engine."""

from __future__ import annotations

import shutil

import pytest

from ..users import REPOSITORY

pytest_plugins = ["pytester"]

SCENARIOS = REPOSITORY / "examples" / "ovirt" / "tests"

CONFTEST = """
import os
import pytest
from tests.ovirt import pki
from tests.ovirt.engine_server.state import empty
from tests.ovirt.loopback import FQDN, stand_in

@pytest.fixture(scope="session", autouse=True)
def ovirt_prefix(tmp_path_factory):
    place = tmp_path_factory.mktemp("stand-in")
    pki.make(place, FQDN)
    able = "root-password: secret, metadata: {ovirt-capabilities: [snapshot-live-merge]}"
    with stand_in(place, place, empty(), others=["storage"], more=able) as made:
        prefix = made.vm.env.snapshots
        os.environ["LAGO_PREFIX"] = prefix.paths.prefix()
        yield prefix

@pytest.fixture(scope="module")
def clean():
    "There is no machine that could go back."
"""


def test_d19_an_engine_gets_all_that_is_asked_for_in_order(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    for path in SCENARIOS.glob("*.py"):
        shutil.copy(path, pytester.path)
    run = pytester.mkdir("run")
    run.joinpath("conftest.py").write_text(CONFTEST)
    for name in ("bootstrap.py", "basic_sanity.py"):
        pytester.path.joinpath(name).rename(run / name)
    shutil.copy(run / "bootstrap.py", run / "again.py")
    files = ("run/bootstrap.py", "run/basic_sanity.py", "run/again.py")
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-rs", *files)
    done.assert_outcomes(passed=15, failed=1, skipped=4)
    done.stdout.fnmatch_lines(
        ["*The name test-dc is already in use*", "SKIPPED*again.py: test_add_data_center failed, which this builds on"]
    )
