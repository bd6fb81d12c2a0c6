"""The SDK's connection, to an engine that the host has no route to."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import ovirtsdk4
import pycurl

from .transport import Transport


class Connection(ovirtsdk4.Connection):  # type: ignore[misc]
    """A connection of `ovirtsdk4` whose requests go through a `Transport`.

    The SDK leaves nothing of this to its users: it makes curl handles itself, and logs in without any time-out. So it
    gets its handles prepared where it puts them together, and the requests about logging in are ours.

    Args:
        transport: for what the SDK asks.
        sign_in: for logging in.
        url: address of the engine's API.
        options: as for `ovirtsdk4.Connection`.
    """

    def __init__(self, transport: Transport, sign_in: Transport, url: str, **options: Any) -> None:
        super().__init__(url=url, **options)
        self._sign_in = sign_in
        self._multi = _Prepared(transport, url)

    def _get_sso_response(self, url: str, params: Any = "") -> Any:
        try:
            response = self._sign_in.request(url, urlencode(params))
        except pycurl.error as error:
            # The SDK knows these only where it makes the request itself.
            code, words = error.args[0], self._sign_in.failure or error.args[1]
            kind = ovirtsdk4.TimeoutError if code == pycurl.E_OPERATION_TIMEDOUT else ovirtsdk4.ConnectionError
            raise kind(words) from error
        if "json" not in response.kind:
            raise ovirtsdk4.Error(f"it answers with status {response.code}", code=response.code)
        return json.loads(response.body)


class _Prepared(pycurl.CurlMulti):  # type: ignore[misc]
    """Handles are prepared when they are added."""

    def __init__(self, transport: Transport, url: str) -> None:
        super().__init__()
        self._transport = transport
        self._url = url

    def add_handle(self, curl: pycurl.Curl) -> None:
        """Prepare a handle for its address, and take it."""
        self._transport.prepare(curl, self._url)
        super().add_handle(curl)
