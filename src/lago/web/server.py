"""The server: which address leads to what."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from importlib.resources import files
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..environment.prefix import Prefix
from ..errors import LagoError
from ..guest import console_log
from ..journal.reading import Entry, Follower
from ..report.page import script, style
from . import acts, parts, screen, terminal
from .guard import Guard, is_of_ours

_MOST_CONNECTIONS: Final = 128
_MOST_TERMINALS: Final = 24
_SILENT: Final = 10
"""Seconds in which whoever connects says what he wants."""
_ENDING: Final = 2
_BATCH: Final = 500
_LINES: Final = 500
_TYPES: Final = {"js": "text/javascript", "css": "text/css"}
_INDEX: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Lago</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/static/viewer.css" nonce="{nonce}">
<link rel="stylesheet" href="/parts/xterm/xterm.css">
<link rel="stylesheet" href="/static/web.css">
</head>
<body>
<div id="page"><noscript>This page needs JavaScript.</noscript></div>
<script src="/parts/xterm/xterm.js"></script>
<script src="/parts/xterm-fit/addon-fit.js"></script>
<script src="/static/viewer.js"></script>
<script type="module" src="/static/web.js"></script>
</body>
</html>
"""

Places = Callable[[], Mapping[str, str]]


class Page:
    """The page of environments.

    Args:
        places: gives the paths of the prefixes that it is about, by their uuids.
        read_only: refuse all that changes something, and whatever something can be typed into.
    """

    def __init__(self, places: Places, *, read_only: bool) -> None:
        self._places = places
        self._read_only = read_only
        self._busy: set[str] = set()
        self._terminals = 0

    def app(self) -> Starlette:
        """The application, which lets everybody in."""
        return Starlette(
            routes=[
                Route("/", self._index),
                Route("/static/{name}", self._static),
                Route("/parts/{path:path}", self._part),
                Route("/api/environments", self._environments),
                Route("/api/{uuid}/facts", self._facts),
                Route("/api/{uuid}/events", self._events),
                Route("/api/{uuid}/logs/{vm}", self._logs),
                Route("/api/{uuid}/{word}", self._act, methods=["POST"]),
                WebSocketRoute("/ws/{uuid}/{how}/{vm}", self._socket),
            ],
            exception_handlers={LagoError: _told, OSError: _told},
        )

    def _prefix(self, uuid: str) -> Prefix:
        path = self._places().get(uuid)
        if path is None:
            raise LagoError("this environment is not there any more", hint="reload the page")
        return Prefix(path)

    async def _index(self, request: Request) -> Response:
        return Response(_INDEX.format(nonce=request.scope["nonce"]), media_type="text/html")

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        texts: dict[str, Callable[[], str]] = {
            "viewer.js": script,
            "viewer.css": style,
            "web.js": lambda: _own("web.js"),
            "web.css": lambda: _own("web.css"),
        }
        if name not in texts:
            return Response(status_code=404)
        return Response(texts[name](), media_type=_TYPES[name.rpartition(".")[2]])

    async def _part(self, request: Request) -> Response:
        path = request.path_params["path"]
        data = parts.read(path)
        if data is None:
            return Response(status_code=404)
        return Response(data, media_type=_TYPES.get(path.rpartition(".")[2], "text/plain"))

    async def _environments(self, _request: Request) -> Response:
        places = await run_in_threadpool(self._places)
        found = [
            {"uuid": uuid, "path": path, "name": os.path.basename(path), "workdir": os.path.dirname(path)}
            for uuid, path in places.items()
        ]
        return JSONResponse(
            {"environments": found, "read_only": self._read_only, "parts": parts.missing(), "remedy": parts.REMEDY}
        )

    async def _facts(self, request: Request) -> Response:
        uuid = request.path_params["uuid"]
        found = await run_in_threadpool(lambda: acts.facts(self._prefix(uuid)))
        return JSONResponse({**found, "busy": uuid in self._busy})

    async def _logs(self, request: Request) -> Response:
        def lines() -> list[str]:
            prefix = self._prefix(request.path_params["uuid"])
            vm = prefix.domain(request.path_params["vm"]).name
            return console_log.tail(prefix.paths.console_log(vm), _LINES)

        return JSONResponse({"lines": await run_in_threadpool(lines)})

    async def _act(self, request: Request) -> Response:
        uuid = request.path_params["uuid"]
        if self._read_only:
            raise _Refused("this page is for looking only", hint="start lago web without --read-only")
        if uuid in self._busy:
            raise _Refused("something else is being done with this environment", hint="wait until it is done")
        try:
            body = (await request.body()).decode(errors="replace")
        except ClientDisconnect:
            return JSONResponse({"what": "this is too long", "details": "", "hint": ""}, 413)
        self._busy.add(uuid)
        try:
            said = await run_in_threadpool(lambda: acts.act(self._prefix(uuid), request.path_params["word"], body))
        finally:
            self._busy.discard(uuid)
        return JSONResponse({"said": said})

    async def _events(self, request: Request) -> Response:
        prefix = await run_in_threadpool(self._prefix, request.path_params["uuid"])
        return StreamingResponse(_lines(prefix.paths.prefix()), media_type="text/event-stream")

    async def _socket(self, websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            await self._serve(websocket)
        except (LagoError, OSError) as error:
            # The reason of a close has at most 123 bytes.
            await _leave(websocket, str(error).encode()[:120].decode(errors="ignore"))
        except WebSocketDisconnect:
            return
        else:
            await _leave(websocket, "")

    async def _serve(self, websocket: WebSocket) -> None:
        how, vm, uuid = (websocket.path_params[name] for name in ("how", "vm", "uuid"))
        if self._read_only:
            raise _Refused("this page is for looking only, and something can be typed here")
        if how not in ("shell", "console", "screen"):
            raise _Refused("there is no such way to a machine")
        if self._terminals >= _MOST_TERMINALS:
            raise _Refused(f"{_MOST_TERMINALS} terminals and screens are open: close one")
        self._terminals += 1
        try:
            prefix = await run_in_threadpool(self._prefix, uuid)
            name = await run_in_threadpool(lambda: prefix.domain(vm).name)
            if how == "screen":
                await screen.serve(websocket, await run_in_threadpool(screen.connect, prefix, name))
            else:
                await terminal.serve(websocket, terminal.command(prefix.paths.prefix(), name, how))
        finally:
            self._terminals -= 1


class _Refused(LagoError):
    """Something is not done here."""


async def _leave(websocket: WebSocket, why: str) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await websocket.close(1000, why)


def _own(name: str) -> str:
    return files(__package__).joinpath("page", name).read_text(encoding="utf-8")


async def _told(_request: Request, error: Exception) -> Response:
    if not isinstance(error, LagoError):
        return JSONResponse({"what": str(error), "details": "", "hint": ""}, 500)
    told = {"what": error.what, "details": error.details, "hint": error.hint}
    return JSONResponse(told, 403 if isinstance(error, _Refused) else 400)


def _next(entries: Iterator[Entry]) -> list[Entry]:
    return list(itertools.islice(entries, _BATCH))


async def _lines(prefix_dir: str) -> AsyncIterator[str]:
    """The journal as server-sent events, from its begin on, some at a time; whoever does not read is waited for."""
    loop = asyncio.get_running_loop()
    come = asyncio.Event()
    with contextlib.closing(Follower(prefix_dir, from_begin=True)) as follower:
        loop.add_reader(follower.fileno(), come.set)
        try:
            while True:
                entries = follower.entries()
                while some := await run_in_threadpool(_next, entries):
                    yield f"data: {json.dumps(some)}\n\n"
                if follower.gone:
                    yield "event: gone\ndata: {}\n\n"
                    return
                yield ": up to now\n\n"
                await come.wait()
                # What comes within a moment comes together.
                await asyncio.sleep(0.05)
                come.clear()
                follower.wait(0)
        finally:
            loop.remove_reader(follower.fileno())


class _Protocol(H11Protocol):
    """A connection of this user's, of one who says soon what he wants."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple) and not is_of_ours(peer, transport.get_extra_info("sockname")):
            transport.abort()
            return
        self.loop.call_later(_SILENT, self._end_silence)

    def _end_silence(self) -> None:
        if self.cycle is None and self.transport.get_protocol() is self and not self.transport.is_closing():
            self.transport.abort()


def run(page: Page, listener: socket.socket, announce: Callable[[str], None]) -> None:
    """Serve until a signal ends it.

    Args:
        listener: bound to a loopback address, or to a unix socket.
        announce: called with the token when whoever comes is answered.
    """
    port = None if listener.family == socket.AF_UNIX else listener.getsockname()[1]
    guard = Guard(page.app(), port)
    config = uvicorn.Config(
        guard,
        http=_Protocol,
        ws="websockets-sansio",
        ws_max_size=1 << 20,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_SILENT,
        timeout_graceful_shutdown=_ENDING,
    )
    announce(guard.token)
    server = uvicorn.Server(config)
    server.run(sockets=[listener])
