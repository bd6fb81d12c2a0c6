"""The image from which a QEMU that runs loads a state."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lago.host.programs import run
from lago.virt import carrier

pytestmark = pytest.mark.programs


@pytest.mark.parametrize("length", [1, 65536, 65537, 3_000_000])
def test_qemu_finds_a_snapshot_with_the_stream_in_it(tmp_path: Path, length: int) -> None:
    path, stream = tmp_path / "carrier", os.urandom(length)
    with carrier.writing(str(path)) as file:
        os.write(file, stream[:100])
        os.write(file, stream[100:])
    run(["qemu-img", "check", "-q", "-f", "qcow2", str(path)])
    [snapshot] = json.loads(run(["qemu-img", "info", "-f", "qcow2", "--output=json", str(path)]).out)["snapshots"]
    assert (snapshot["name"], snapshot["vm-state-size"]) == (carrier.TAG, length)
    # What is loaded is what lies behind the disk when the snapshot is gone back to, as often as one likes.
    for _ in range(2):
        run(["qemu-img", "snapshot", "-q", "-a", carrier.TAG, str(path)])
    size = -(-length // 512) * 512
    said = run(["qemu-io", "-r", "-f", "qcow2", "-c", f"read -b -v 0 {size}", str(path)]).out
    assert _bytes(said)[:length] == stream
    run(["qemu-img", "check", "-q", "-f", "qcow2", str(path)])


def _bytes(dump: bytes) -> bytes:
    """What is in a dump of qemu-io, whose lines have an address, 16 bytes and their text."""
    lines = [line.decode("ascii").split(":  ", 1)[1] for line in dump.splitlines() if b":  " in line]
    return bytes.fromhex("".join(line[:48] for line in lines))


def test_a_stream_that_is_too_long_is_refused(tmp_path: Path) -> None:
    def write() -> None:
        with carrier.writing(str(tmp_path / "carrier")) as file:
            os.lseek(file, carrier.MOST, os.SEEK_CUR)
            os.write(file, b"x")

    with pytest.raises(ValueError, match="too long"):
        write()
