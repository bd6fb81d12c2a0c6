"""What addresses a machine may name."""

from __future__ import annotations

import io
import socket
from pathlib import Path

import pytest

from ovirtlago.engine.transport import Transport
from ovirtlago.errors import EngineError


def nobody(_port: int) -> socket.socket:
    """A way to a machine that is not there."""
    raise ConnectionRefusedError("nobody is asked")


@pytest.mark.parametrize("scheme", ["file", "ftp", "scp", "FILE", ""])
def test_a_machine_names_no_file_of_this_host(tmp_path: Path, scheme: str) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    transport = Transport(nobody, None)
    url = f"{scheme}://localhost{mine}"
    with pytest.raises(EngineError, match="is no address of a server"):
        transport.upload(url, io.BytesIO(b"their"), 5, lambda _: None)
    with pytest.raises(EngineError, match="is no address of a server"):
        transport.request(url)
    assert mine.read_text() == "mine"
