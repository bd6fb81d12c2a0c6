"""Let the machine of the engine become one. The first to be run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ovirtlago import OvirtPrefix, testlib

ANSWERS = Path(__file__).with_name("engine-answers.conf")


def test_engine_setup_succeeds(ovirt_prefix: OvirtPrefix) -> None:
    ovirt_prefix.virt_env.the_engine().engine_setup(str(ANSWERS))


@testlib.with_ovirt_api
def test_the_engine_answers(api: Any) -> None:
    assert api.test(raise_exception=True)
