"""Nobody but this user's browser, and in it nobody but the page, is let in."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from lago.web.guard import is_of_ours

from .conftest import UUID, Served


def test_the_token_is_exchanged_for_a_cookie_that_scripts_and_other_pages_do_not_get(page: Served) -> None:
    first = page.ask(f"/?token={page.token}", {"Cookie": ""})
    assert first.status == 303
    assert first.headers["location"] == "/"
    assert page.token not in first.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {*first.headers["set-cookie"].split("; ")}
    assert page.ask("/").status == 200


@pytest.mark.parametrize(
    "path", ["/", "/?token=wrong", "/?token=", "/static/web.js", "/api/environments", f"/api/{UUID}/facts", "/parts/x"]
)
def test_without_cookie_or_token_nothing_is_answered(page: Served, path: str) -> None:
    answer = page.ask(path, {"Cookie": ""})
    assert answer.status == 401
    assert "lago web" in answer.text
    assert "set-cookie" not in answer.headers
    assert page.ask(path, {"Cookie": page.cookie[:-1] + ("a" if page.cookie[-1] != "a" else "b")}).status == 401


def test_the_cookie_is_not_the_token(page: Served) -> None:
    name = page.cookie.partition("=")[0]
    assert page.ask("/", {"Cookie": f"{name}={page.token}"}).status == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil:{port}"]
)
def test_another_name_that_leads_here_is_refused(page: Served, host: str) -> None:
    named = host.format(port=page.port)
    assert page.ask("/", {"Host": named}).status == 403
    assert page.ask(f"/?token={page.token}", {"Host": named, "Cookie": ""}).status == 403
    assert page.ask("/", {"Host": f"localhost:{page.port}"}).status == 200


@pytest.mark.parametrize(
    "origin", ["", "null", "http://evil.example", "http://127.0.0.1:1", "https://127.0.0.1:{port}"]
)
def test_another_page_changes_nothing(page: Served, origin: str) -> None:
    headers = {"Origin": origin.format(port=page.port)}
    answer = page.ask(f"/api/{UUID}/heal", headers, "{}")
    assert answer.status == 403
    assert answer.text == "lago web: another page asked for this\n"
    assert page.ask(f"/api/{UUID}/heal", None, "{}").data == {"said": "nothing was broken"}


def test_another_page_reads_nothing(page: Served) -> None:
    for headers in (
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        answer = page.ask(f"/api/{UUID}/facts", headers)
        assert answer.status == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert page.ask(f"/api/{UUID}/facts", {"Sec-Fetch-Site": "same-origin"}).status == 200


def _connected(at: str, origin: str | None, headers: dict[str, str]) -> ClientConnection:
    return connect(at, origin=None if origin is None else Origin(origin), additional_headers=headers)


@pytest.mark.parametrize("how", ["shell", "console", "screen"])
def test_a_websocket_wants_our_origin_our_name_and_the_cookie(page: Served, how: str) -> None:
    at = f"ws://127.0.0.1:{page.port}/ws/{UUID}/{how}/vm0"
    cookie = {"Cookie": page.cookie}
    for origin, headers in (
        ("http://evil.example", cookie),
        (None, cookie),
        ("null", cookie),
        (page.origin, {}),
        (page.origin, {"Cookie": "lago=x"}),
    ):
        with pytest.raises(InvalidStatus), _connected(at, origin, headers):
            pass
    # As a name of somebody else's leads here.
    with socket.create_connection(("127.0.0.1", page.port)) as there, pytest.raises(InvalidStatus):
        connect(at.replace("127.0.0.1", "evil.example"), sock=there, additional_headers=cookie, proxy=None)
    with _connected(at, page.origin, cookie) as socket_:
        for _ in socket_:
            pass
        assert socket_.protocol.close_reason == "there is no machine vm0"


def test_whoever_looks_only_changes_nothing_and_types_nowhere(looking: Served) -> None:
    for verb in ("snapshot", "revert", "delete", "fork", "fault", "heal", "start", "stop"):
        answer = looking.ask(f"/api/{UUID}/{verb}", None, '{"name": "x"}')
        assert answer.status == 403
        assert answer.data["what"] == "this page is for looking only"
    for how in ("shell", "console", "screen"):
        at = f"ws://127.0.0.1:{looking.port}/ws/{UUID}/{how}/vm0"
        with _connected(at, looking.origin, {"Cookie": looking.cookie}) as socket_:
            assert list(socket_) == []
            assert "looking only" in (socket_.protocol.close_reason or "")
    assert looking.ask("/api/environments").data["read_only"] is True


def test_all_answers_hold_the_browser_to_this_server(page: Served) -> None:
    for path, cookie in (("/", page.cookie), ("/", ""), ("/static/web.js", page.cookie), ("/nowhere", page.cookie)):
        headers = page.ask(path, {"Cookie": cookie}).headers
        policy = dict(one.split(" ", 1) for one in headers["content-security-policy"].split("; "))
        assert (policy["default-src"], policy["script-src"], policy["connect-src"]) == ("'none'", "'self'", "'self'")
        assert policy["frame-ancestors"] == "'none'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


def test_the_page_has_no_inline_script_and_its_nonce_is_new_each_time(page: Served) -> None:
    one, other = page.ask("/").text, page.ask("/").text
    assert one != other
    assert "<script>" not in one
    assert "<style" not in one


@pytest.mark.parametrize(
    "path", ["../guard.py", "..%2fguard.py", "%2e%2e/guard.py", "/etc/passwd", "xterm", ".", "novnc/../../guard.py"]
)
def test_nothing_but_parts_is_served(page: Served, path: str) -> None:
    assert page.ask(f"/parts/{path}").status == 404
    assert page.ask(f"/static/{path}").status == 404


@pytest.mark.parametrize("body", ["", "[", "[]", '{"name": 3}', "[" * 5000, "\x00"])
def test_what_is_no_order_is_told_as_such(page: Served, body: str) -> None:
    answer = page.ask(f"/api/{UUID}/snapshot", None, body)
    assert answer.status == 400
    assert answer.data["hint"]


def test_a_body_that_is_too_long_is_not_kept(page: Served) -> None:
    assert page.ask(f"/api/{UUID}/snapshot", None, "x" * (1 << 20)).status == 413


def test_an_error_has_its_remedy(page: Served) -> None:
    answer = page.ask(f"/api/{UUID}/revert", None, '{"name": "nothing"}')
    assert answer.status == 400
    assert "nothing" in answer.data["what"]
    gone = page.ask(f"/api/{'1' * 32}/facts")
    assert gone.data == {"what": "this environment is not there any more", "details": "", "hint": "reload the page"}


def test_another_user_of_the_host_is_not_answered(page: Served) -> None:
    if os.geteuid():
        pytest.skip("only root can be another user")
    os.seteuid(12345)
    try:
        theirs = socket.socket()
    finally:
        os.seteuid(0)
    with theirs:
        theirs.settimeout(60)
        theirs.connect(("127.0.0.1", page.port))
        assert not is_of_ours(theirs.getsockname(), theirs.getpeername())
        with pytest.raises(ConnectionError):
            _ask_as(theirs, page)


def _ask_as(theirs: socket.socket, page: Served) -> None:
    theirs.sendall(f"GET /?token={page.token} HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\n\r\n".encode())
    if not theirs.recv(1):
        raise ConnectionError


def test_a_thousand_connections_that_say_nothing_do_not_lock_out_the_page(page: Served) -> None:
    silent = []
    try:
        for _ in range(300):
            one = socket.create_connection(("127.0.0.1", page.port), timeout=60)
            silent.append(one)
        # Those that say nothing are ended, which is seen here, and then the page is answered again.
        assert silent[-1].recv(1) == b""
        assert page.ask("/").status == 200
    finally:
        for one in silent:
            one.close()


def test_the_journal_comes_as_it_is_written(page: Served) -> None:
    journal = page.prefix / "journal.jsonl"
    journal.write_text('{"t": 1, "kind": "note", "text": "<b>one</b>"}\n')
    with socket.create_connection(("127.0.0.1", page.port), timeout=60) as there:
        there.sendall(
            f"GET /api/{UUID}/events HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nCookie: {page.cookie}\r\n\r\n".encode()
        )
        seen = b""
        while b"<b>one</b>" not in seen:
            seen += there.recv(4096)
        assert b"content-type: text/event-stream" in seen.lower()
        with journal.open("a") as file:
            file.write('{"t": 2, "kind": "note", "text": "two"}\n')
        while b'"two"' not in seen:
            seen += there.recv(4096)


def test_facts_have_no_passwords(page: Served, prefix: Path) -> None:
    assert "root_password" not in page.ask(f"/api/{UUID}/facts").text
    assert page.ask(f"/api/{UUID}/facts").data["path"] == str(prefix)
