"""A server of the page, for an environment that does not run."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from lago.web import server

UUID = "0" * 32


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def data(self) -> Any:
        """It as JSON."""
        return json.loads(self.text)


@dataclass(frozen=True)
class Served:
    """A server, its token, and a cookie that it gave for that."""

    port: int
    token: str
    prefix: Path
    cookie: str = ""

    @property
    def origin(self) -> str:
        """The origin of the page."""
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, headers: Mapping[str, str] | None = None, body: str | None = None) -> Answer:
        """Ask as the page does, but with `headers`; those that are empty are left out."""
        given = {"Cookie": self.cookie, **({} if body is None else {"Origin": self.origin}), **(headers or {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET" if body is None else "POST", path, body, {k: v for k, v in given.items() if v})
            said = connection.getresponse()
            return Answer(said.status, {k.lower(): v for k, v in said.getheaders()}, said.read().decode())
        finally:
            connection.close()


@contextmanager
def served(prefix: Path, monkeypatch: pytest.MonkeyPatch, *, read_only: bool = False) -> Iterator[Served]:
    """Context manager: a page for a prefix is served."""
    made: list[uvicorn.Server] = []
    plain = uvicorn.Server.__init__

    def remembered(self: uvicorn.Server, config: uvicorn.Config) -> None:
        made.append(self)
        plain(self, config)

    monkeypatch.setattr(uvicorn.Server, "__init__", remembered)
    page = server.Page(lambda: {UUID: str(prefix)}, read_only=read_only)
    token: list[str] = []
    told = threading.Event()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def announce(text: str) -> None:
            token.append(text)
            told.set()

        thread = threading.Thread(target=server.run, args=(page, listener, announce))
        thread.start()
        try:
            assert told.wait(60)
            port = listener.getsockname()[1]
            first = Served(port, token[0], prefix).ask(f"/?token={token[0]}")
            found = re.match(r"[\w-]+=[\w-]+", first.headers["set-cookie"])
            assert found
            yield Served(port, token[0], prefix, found[0])
        finally:
            for one in made:
                one.should_exit = True
            thread.join(60)
            assert not thread.is_alive()


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A prefix with no machines."""
    path = tmp_path / "env"
    (path / "virt").mkdir(parents=True)
    (path / "logs").mkdir()
    (path / "initialized").touch()
    (path / "uuid").write_text(UUID)
    (path / "virt" / "env").write_text('{"nets": [], "vms": []}')
    return path


@pytest.fixture
def page(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A page that is served."""
    with served(prefix, monkeypatch) as made:
        yield made


@pytest.fixture
def looking(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A page for looking only."""
    with served(prefix, monkeypatch, read_only=True) as made:
        yield made
