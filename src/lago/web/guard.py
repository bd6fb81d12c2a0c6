"""Who is let in: whoever has the token, from the page itself, and nobody else.

The server listens on the loopback address, where all users of the host and all pages of a browser can connect. So:

- the peer's user is looked up, and others than ours are not answered;
- `Host` must be a name of ours, or a name of somebody else's would lead a browser here (DNS rebinding);
- what changes something, and each websocket, must have our own `Origin`, as browsers send cookies with what other
  pages ask for too;
- all but the first page wants the cookie, which is given for the token of the printed address alone.
"""

from __future__ import annotations

import hmac
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
_SAFE: Final = ("GET", "HEAD")
_LONGEST_BODY: Final = 64 << 10
_REFUSED_SOCKET: Final = 4403


class Guard:
    """Let in to `app` what may come in, and give all answers the headers that hold a browser to it.

    Args:
        port: where we listen; None for a unix socket, which others may reach by a port of their own (`ssh -L`).
    """

    def __init__(self, app: App, port: int | None, *, token: str | None = None) -> None:
        self._app = app
        self._port = port
        self.token = token or secrets.token_urlsafe(32)
        self._session = secrets.token_urlsafe(32)
        # Cookies know no ports: with one name, two servers on a host would throw each other's away.
        self._cookie = f"lago-{port or 'socket'}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        nonce = secrets.token_urlsafe(16)
        scope["nonce"] = nonce
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        why = self._refusal(scope, headers)
        if scope["type"] == "websocket":
            if why:
                await _close(receive, send, why)
            else:
                await self._app(scope, receive, send)
            return
        send = _with_headers(send, nonce)
        if why:
            await _answer(send, 403, f"lago web: {why}\n")
        elif given := self._token_of(scope):
            await self._exchange(given, send)
        elif not self._is_known(headers):
            await _answer(send, 401, "lago web: open the whole address that `lago web` has printed, with its token\n")
        else:
            await self._app(scope, _limited(receive), send)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> str:
        """Why a request is refused whoever sends it; empty if it is not."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        host = headers.get("host", "")
        if len(hosts) != 1 or not self._is_our_name(host):
            return "this is not the name of this server"
        origin = headers.get("origin")
        changes = scope["type"] == "websocket" or scope["method"] not in _SAFE
        if (origin is not None or changes) and origin != f"http://{host}":
            return "another page asked for this"
        # A link in a terminal or a bookmark has none; a link on another page gets the first page at most.
        if scope["path"] != "/" and headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "another page asked for this"
        if scope["type"] == "websocket" and not self._is_known(headers):
            return "there is no session"
        return ""

    def _is_our_name(self, host: str) -> bool:
        if self._port is not None:
            return host in [f"{name}:{self._port}" for name in _NAMES]
        return any(host == name or (host.startswith(f"{name}:") and host[len(name) + 1 :].isdigit()) for name in _NAMES)

    def _token_of(self, scope: Scope) -> str:
        if scope["path"] != "/" or scope["method"] != "GET":
            return ""
        return next(iter(parse_qs(scope["query_string"].decode("latin-1")).get("token", [])), "")

    async def _exchange(self, given: str, send: Send) -> None:
        if not _same(given, self.token):
            await _answer(send, 401, "lago web: this token is not, or no longer, the one that was printed\n")
            return
        cookie = f"{self._cookie}={self._session}; HttpOnly; SameSite=Strict; Path=/"
        more = [(b"set-cookie", cookie.encode()), (b"location", b"/")]
        await _answer(send, 303, "", more)

    def _is_known(self, headers: dict[str, str]) -> bool:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return False
        return morsel is not None and _same(morsel.value, self._session)


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


def policy(nonce: str) -> str:
    """Content Security Policy: what this server serves, and nothing else.

    Args:
        nonce: of this answer. Terminals make style sheets, which carry it; scripts can't be made.
    """
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            f"style-src 'self' 'nonce-{nonce}'",
            "img-src 'self' data: blob:",
            "font-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _with_headers(send: Send, nonce: str) -> Send:
    added = [
        (b"cache-control", b"no-store"),
        (b"content-security-policy", policy(nonce).encode()),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
    ]

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *added]
        await send(message)

    return sending


def _limited(receive: Receive) -> Receive:
    """A body that ends when it is too long; nothing that is asked for is."""
    had = 0

    async def receiving() -> MutableMapping[str, Any]:
        nonlocal had
        message = await receive()
        had += len(message.get("body", b""))
        return {"type": "http.disconnect"} if had > _LONGEST_BODY else message

    return receiving


async def _answer(send: Send, status: int, text: str, more: Iterable[tuple[bytes, bytes]] = ()) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


async def _close(receive: Receive, send: Send, why: str) -> None:
    await receive()
    await send({"type": "websocket.close", "code": _REFUSED_SOCKET, "reason": why})


def is_of_ours(peer: tuple[str, int], ours: tuple[str, int]) -> bool:
    """Whether a connection over the loopback address comes from this user, or from root.

    The kernel lists sockets with their users in /proc/net/tcp (proc_net_tcp(5)): addresses are in hexadecimal, of the
    byte order of the host.
    """
    wanted = (_spelled(peer), _spelled(ours))
    users = {os.geteuid(), 0}
    if os.geteuid() == 0 and (sudo := os.environ.get("SUDO_UID", "")).isdecimal():
        users.add(int(sudo))
    with open("/proc/net/tcp", encoding="ascii") as table:
        next(table)
        for line in table:
            words = line.split()
            if (words[1], words[2]) == wanted:
                return int(words[7]) in users
    return False


def _spelled(address: tuple[str, int]) -> str:
    number = int.from_bytes(socket.inet_aton(address[0]), "little")
    return f"{number:08X}:{address[1]:04X}"
