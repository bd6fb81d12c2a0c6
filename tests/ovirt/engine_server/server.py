"""The server: log-in, certificates, the API, and the place where images are uploaded."""

from __future__ import annotations

import base64
import json
import os
import secrets
import ssl
import threading
import xml.etree.ElementTree as ET
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from . import actions, answers, provision
from .state import Refused, State

IMAGES = 54323


class Engine:
    """What the requests of all connections share."""

    def __init__(self, directory: Path, fqdn: str, *, password: str = "123", delay: float = 0.3) -> None:
        self.directory = directory
        self.fqdn = fqdn
        self.users = {"admin@internal": password}
        self.state = State(directory, delay)
        self.lock = threading.Lock()
        self.tokens: set[str] = set()
        self.over = threading.Event()

    def knows(self, user: str, password: str) -> bool:
        """Whether somebody may log in."""
        return self.users.get(user) == password


class Server(ThreadingHTTPServer):
    """Serves an engine at an address, with the certificate of its directory."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, engine: Engine, address: tuple[str, int]) -> None:
        super().__init__(address, Handler)
        self.engine = engine
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(engine.directory / "server.pem")

    def get_request(self) -> tuple[Any, Any]:
        """A connection; the handshake is for its own thread."""
        connection, address = super().get_request()
        return self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away, or don't trust us, are no news."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for head and body
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""

    def do_GET(self) -> None:
        """Read."""
        self._answer()

    def do_POST(self) -> None:
        """Add, act, or log in."""
        self._answer()

    def do_PUT(self) -> None:
        """Change, or upload."""
        self._answer()

    def do_DELETE(self) -> None:
        """Remove."""
        self._answer()

    def _answer(self) -> None:
        engine = self.server.engine
        faults = engine.state.faults.all()
        if faults.get("silent"):
            engine.over.wait()
            return
        path = urlsplit(self.path).path
        if path.startswith("/images/"):
            self._take_image(path.rpartition("/")[2], faults.get("upload"))
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if faults.get("down"):
            self._send(503, b"<html>Service Unavailable</html>", "text/html")
            return
        with engine.lock:
            engine.state.advance()
            try:
                self._route(path, body)
            except Refused as error:
                self._xml(answers.fault("Operation Failed", str(error)), 409)
            except KeyError:
                self._xml(answers.fault("Operation Failed", "Entity not found"), 404)

    def _route(self, path: str, body: bytes) -> None:
        if path.endswith("/pki-resource"):
            ca = self.server.engine.directory / "ca.pem"
            self._send(200, ca.read_bytes(), "application/x-x509-ca-cert")
        elif path.endswith("/sso/oauth/token"):
            self._log_in(parse_qs(body.decode()))
        elif path.endswith("/sso-logout"):
            self.server.engine.tokens -= set(parse_qs(body.decode()).get("token", []))
            self._json({})
        elif not path.startswith(answers.API):
            self._send(404, b"", "text/html")
        elif not self._known():
            self._send(401, b"<html>Unauthorized</html>", "text/html")
        else:
            self._api(path.removeprefix(answers.API).strip("/"), body)

    def _log_in(self, form: dict[str, list[str]]) -> None:
        user, password = (form.get(key, [""])[0] for key in ("username", "password"))
        if not self.server.engine.knows(user, password):
            words = f"Cannot authenticate user '{user}': The username or password is incorrect.."
            self._json({"error_code": "access_denied", "error": words}, 400)
            return
        token = secrets.token_urlsafe()
        self.server.engine.tokens.add(token)
        self._json({"access_token": token, "scope": "ovirt-app-api", "token_type": "bearer"})

    def _known(self) -> bool:
        kind, _, word = self.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            user, _, password = base64.b64decode(word).decode().partition(":")
            return self.server.engine.knows(user, password)
        return kind == "Bearer" and word in self.server.engine.tokens

    def _api(self, path: str, body: bytes) -> None:
        state = self.server.engine.state
        parts = path.split("/") if path else []
        # /datacenters/C/storagedomains/... is /storagedomains/... as the data center C sees it, and so on.
        owner = parts[1] if len(parts) > 2 and parts[2] in answers.NAMES else None
        if owner:
            parts = parts[2:]
        if not parts:
            self._xml(answers.root())
        elif parts == ["events"]:
            most = parse_qs(urlsplit(self.path).query).get("max")
            self._xml(answers.events(state, int(most[0]) if most else None))
        elif len(parts) == 1 and self.command == "POST":
            number = self._add(parts[0], ET.fromstring(body), owner)
            self._xml(answers.thing(state, parts[0], number, owner), 201)
        elif parts == ["storage"] and owner:
            self._xml(answers.luns(state.of("hosts")[owner]))
        elif len(parts) == 1:
            self._xml(answers.things(state, parts[0], owner))
        elif len(parts) == 3:
            self._act(parts[0], parts[1], parts[2], body)
            self._xml(answers.build("action", {"status": "complete"}))
        else:
            self._one(parts[0], parts[1], owner, body)

    def _act(self, kind: str, number: str, action: str, body: bytes) -> None:
        state = self.server.engine.state
        if (kind, action) in provision.ACTIONS:
            provision.ACTIONS[kind, action](state, number, ET.fromstring(body))
        else:
            actions.ACTIONS[kind, action](state, number, state.of(kind)[number])

    def _add(self, kind: str, wanted: ET.Element, owner: str | None) -> str:
        engine = self.server.engine
        if kind == "disks":
            return actions.add_disk(engine.state, wanted)
        if kind == "imagetransfers":
            return actions.add_transfer(engine.state, wanted, engine.fqdn, IMAGES)
        return provision.add(engine.state, kind, wanted, owner)

    def _one(self, kind: str, number: str, owner: str | None, body: bytes) -> None:
        state = self.server.engine.state
        if self.command == "DELETE" and kind == "snapshots":
            provision.merge(state, number)
            self._send(200, b"", "application/xml")
            return
        if self.command == "DELETE":
            if state.of(kind)[number]["status"] == "locked":
                state.refuse("Cannot remove Virtual Disk. The disk is locked.")
            state.of(kind).pop(number)
            state.save()
            self._send(200, b"", "application/xml")
            return
        if self.command == "PUT" and (cpu := ET.fromstring(body).findtext("cpu/type")):
            state.of(kind)[number]["cpu"] = cpu
            state.event(f"{kind} {state.of(kind)[number]['name']} was updated.")
            state.save()
        if self.command == "PUT" and kind == "diskattachments":
            state.of(kind)[number]["active"] = ET.fromstring(body).findtext("active") == "true"
        self._xml(answers.thing(state, kind, number, owner))

    def _take_image(self, number: str, refused: int | None) -> None:
        engine = self.server.engine
        with engine.lock:
            transfer = engine.state.of("imagetransfers").get(number)
        left = int(self.headers.get("Content-Length") or 0)
        sink = os.devnull if transfer is None or refused else engine.directory / f"image-{transfer['disk']}"
        with open(sink, "wb") as file:
            while left and (data := self.rfile.read(min(left, 1 << 16))):
                file.write(data)
                left -= len(data)
        if transfer is None or refused:
            self._send(refused or 404, b"no such ticket", "text/plain")
            return
        transfer["received"] = os.path.getsize(sink)
        self._send(200, b"", "text/plain")

    def _xml(self, element: ET.Element, code: int = 200) -> None:
        self._send(code, answers.text(element), "application/xml;charset=UTF-8")

    def _json(self, data: Any, code: int = 200) -> None:
        self._send(code, json.dumps(data).encode(), "application/json")

    def _send(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
