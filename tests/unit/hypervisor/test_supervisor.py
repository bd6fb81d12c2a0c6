"""What process 1 of a private hypervisor does before it has namespaces."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from lago.hypervisor import namespace
from lago.hypervisor.way_out import WayOut


def test_the_way_out_has_its_own_view_of_files_before_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"

    def own_mounts() -> None:
        time.sleep(0.3)
        seen.touch()

    monkeypatch.setattr(namespace, "own_mounts", own_mounts)
    child = WayOut(["true"], str(tmp_path / "log"))
    assert seen.exists()
    # Nobody says that it may begin.
    child._ours.close()
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 1
