"""A terminal of the page ends with its websocket, and waits for whoever does not read."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from lago.web import terminal

pytestmark = pytest.mark.programs


class Client:
    """A websocket's other end."""

    def __init__(self, *, reads: bool = True) -> None:
        self.said = b""
        self.came = asyncio.Event()
        self._typed: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._reads = reads

    async def receive(self) -> Any:
        return await self._typed.get()

    async def send_bytes(self, data: bytes) -> None:
        self.said += data
        self.came.set()
        if not self._reads:
            await asyncio.Event().wait()

    def type(self, data: bytes) -> None:
        self._typed.put_nowait({"type": "websocket.receive", "bytes": data})

    def resize(self, text: str) -> None:
        self._typed.put_nowait({"type": "websocket.receive", "text": text})

    def leave(self) -> None:
        self._typed.put_nowait({"type": "websocket.disconnect"})

    async def until(self, text: bytes) -> None:
        async with asyncio.timeout(60):
            while text not in self.said:
                self.came.clear()
                await self.came.wait()


def test_what_is_typed_comes_to_the_program_and_its_answer_back() -> None:
    async def talk() -> None:
        client = Client()
        client.resize("100x30")
        serving = asyncio.create_task(terminal.serve(client, ["sh"]))
        client.type(b"stty size; echo $((6 * 7))\n")
        await client.until(b"30 100")
        await client.until(b"42")
        client.type(b"exit\n")
        await asyncio.wait_for(serving, 60)

    asyncio.run(talk())


@pytest.mark.parametrize("size", ["", "x", "0x0", "-1x5", "99999x99999", "1x", "²x²"])
def test_a_size_that_is_none_changes_nothing(size: str) -> None:
    async def talk() -> None:
        client = Client()
        client.resize("90x20")
        client.resize(size)
        serving = asyncio.create_task(terminal.serve(client, ["sh", "-c", "read x; stty size"]))
        client.type(b"\n")
        await client.until(b"20 90")
        await asyncio.wait_for(serving, 60)

    asyncio.run(talk())


def test_the_program_ends_with_the_websocket(tmp_path: Path) -> None:
    async def talk() -> int:
        client = Client()
        serving = asyncio.create_task(
            terminal.serve(client, ["sh", "-c", "trap '' TERM; echo pid $$; exec sleep 1000"])
        )
        await client.until(b"\n")
        client.leave()
        await asyncio.wait_for(serving, 60)
        return int(client.said.split()[1])

    assert not os.path.exists(f"/proc/{asyncio.run(talk())}")


def test_a_flood_is_not_kept_for_a_client_that_never_reads() -> None:
    async def talk() -> int:
        client = Client(reads=False)
        serving = asyncio.create_task(terminal.serve(client, ["yes", "flood" * 100]))
        await client.until(b"flood")
        client.leave()
        await asyncio.wait_for(serving, 60)
        return len(client.said)

    assert asyncio.run(talk()) <= 16 << 10


def test_a_program_that_is_not_there_is_told() -> None:
    async def talk() -> bytes:
        client = Client()
        await asyncio.wait_for(terminal.serve(client, ["/no/such/program"]), 60)
        return client.said

    assert b"no such program" in asyncio.run(talk()).lower() or b"No such file" in asyncio.run(talk())
