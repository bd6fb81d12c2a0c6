"""How long a machine is waited for."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from lago.virt.vm import VM


@pytest.mark.parametrize(("boot", "patience", "waited"), [(300, None, 300), (300, 30.0, 30), (10, 30.0, 10)])
def test_who_was_brought_back_has_no_longer_than_a_boot_and_than_patience(
    boot: int, patience: float | None, waited: float
) -> None:
    given: list[float] = []
    driver = SimpleNamespace(wait_for_ssh=lambda seconds, *_, **__: given.append(seconds))
    journal = SimpleNamespace(event=lambda *_, **__: None)
    env = SimpleNamespace(resume=lambda: None)
    spec = SimpleNamespace(boot_time_sec=boot)
    machine = SimpleNamespace(
        name=lambda: "vm0", journal=journal, env=env, spec=spec, driver=driver, time_factor=5, provider="a plugin"
    )
    VM.wait_for_ssh(cast(Any, machine), patience=patience)
    assert given == [waited]
