"""Files of this host."""

from __future__ import annotations

from pathlib import Path

import pytest

from lago.host.files import in_memory


def test_a_file_in_a_tmpfs_is_told_from_others(tmp_path: Path) -> None:
    assert in_memory("/dev/shm")
    assert not in_memory("/proc/self/status")
    with pytest.raises(FileNotFoundError):
        in_memory(str(tmp_path / "none"))
