"""The example `examples/etcd`: a real cluster that is broken in the ways of its tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lago.templates import default_store, own

from ..users import REPOSITORY
from .box import processes

pytest_plugins = ["pytester"]
pytestmark = [pytest.mark.timeout(3000), pytest.mark.slow]

EXAMPLE = REPOSITORY / "examples" / "etcd"
PLUGIN = ("-p", "lago.pytest_plugin", "-p", "no:cacheprovider")


def test_the_example_passes_and_leaves_nothing(
    mini: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = own.ensure(default_store(), own.recipe("etcd", str(EXAMPLE / "recipe.yaml"), (), None))
    place = pytester.path
    shutil.copytree(EXAMPLE, place, dirs_exist_ok=True)
    # Other recipes of that name may be in the store, and newer.
    this = f"template_name: etcd, template_version: {identity.rpartition(':')[2]}"
    text = (EXAMPLE / "LagoInitFile").read_text()
    assert text.count("template_name: etcd") == 1
    (place / "LagoInitFile").write_text(text.replace("template_name: etcd", this))
    monkeypatch.setenv("LAGO_BOOT_TIMEOUT", "120")
    tests = (EXAMPLE / "test_etcd.py").read_text().count("\ndef test_")
    pytester.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=tests)
    assert not (place / ".lago-pytest").exists()
    assert not [command for _, command in processes() if str(place / ".lago-pytest") in command]
