"""The screen of a machine on the page: bytes of its VNC server, which a websocket carries as they are."""

from __future__ import annotations

import asyncio
import contextlib
import socket as sockets
from typing import Final

from ..environment.prefix import Prefix
from ..guest.forward import LOOPBACK
from .terminal import Socket

_CHUNK: Final = 64 << 10
_PATIENCE: Final = 5


def connect(prefix: Prefix, vm: str) -> sockets.socket:
    """Connect with the VNC server of a machine. Raises LagoError if it has no screen, OSError if nobody answers."""
    env = prefix.virt_env
    try:
        port = int(env.get_vm(vm).vnc_port())
    finally:
        env.close()
    hypervisor = prefix.hypervisor
    if hypervisor.shared:
        return sockets.create_connection((LOOPBACK, port), _PATIENCE)
    return hypervisor.connect(LOOPBACK, port, _PATIENCE)


async def serve(websocket: Socket, connected: sockets.socket) -> None:
    """Carry bytes both ways until one side ends."""
    connected.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=connected)

    async def say() -> None:
        while data := await reader.read(_CHUNK):
            await websocket.send_bytes(data)

    async def take() -> None:
        while (message := await websocket.receive())["type"] != "websocket.disconnect":
            writer.write(message.get("bytes") or b"")
            await writer.drain()

    tasks = [asyncio.create_task(say()), asyncio.create_task(take())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
