"""Files from elsewhere: by http, https or from this host. A connection that is lost is made again where it broke.

Nothing else is spoken, wherever an address comes from and wherever a server leads: no ftp, no file of this host that a
server names, and no way from https to http.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import os
import random
import shutil
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Collection, Iterator
from typing import IO, Any, Final

from ..constants import URL_SCHEMES
from ..errors import FetchError, HostError
from ..log import say

BLOCK: Final = 1 << 20
"""Bytes to handle at once."""

_TIMEOUT: Final = 60
"""Seconds without a byte after which the other side counts as gone."""

_EVERY: Final = 5.0
"""Seconds between two words on how far it is."""

_TRIES: Final = 5
"""Failures in a row, without a byte between, after which we give up."""

_MOST_LOST: Final = 30
"""Failures of which each came before `_ENOUGH` more bytes, after which we give up."""

_ENOUGH: Final = 1 << 20

_PAUSE = 0.5
"""Seconds before the first new try; each time twice as long."""

_PATIENCE: Final = 60.0
"""Seconds to wait at most when a server says how long to."""

_PASSING: Final = (408, 429, 500, 502, 503, 504)
"""HTTP status of what may be over soon."""

_SLOWEST: Final = 100
"""Bytes a second below which a server only holds us."""

_SLOW_FOR = 300.0
"""Seconds after which that is believed."""

_TEXT_LIMIT: Final = 16 << 20


class Stream:
    """The bytes at an address, from `start` to the last one, whatever happens to connections meanwhile.

    Proxies are those that the environment names.

    Attributes:
        start: where it begins: 0, or near the `have` bytes of an earlier try if they are still good.
        validator: tells this content of the address from another; empty if the server has no such thing.
        length: in bytes, from 0; None if the server does not say.
    """

    def __init__(self, url: str, have: int = 0, validator: str = "") -> None:
        """Connect to the server.

        Args:
            have: how many bytes are there from an earlier try.
            validator: the attribute of that try.

        Raises:
            FetchError: it can't be had.
        """
        check_scheme(url)
        self.url = url
        self._failures = self._lost = 0
        # One byte less than there are, as a range of none is an error.
        self._answer = self._connect(have - 1 if have and validator else 0, validator)
        self.start = self._position = _first_byte(self._answer)
        self.validator = _validator(self._answer)
        self.length = _length(self._answer)

    def __iter__(self) -> Iterator[bytes]:
        began, shown = self._position, time.monotonic()
        since = shown
        try:
            while block := self._read():
                yield block
                if time.monotonic() - shown > _EVERY:
                    shown = time.monotonic()
                    self._show((self._position - began) / (shown - since))
        finally:
            self._answer.close()

    def _show(self, rate: float) -> None:
        whole = f" of {self.length >> 20} MiB, {self._position * 100 // self.length} %" if self.length else " MiB"
        say(f"{self.url}: {self._position >> 20}{whole}, {rate / BLOCK:.1f} MiB/s")

    def _read(self) -> bytes:
        """Read the next bytes; none at the end."""
        while True:
            try:
                block = self._block()
                why = f"after {self._position} of {self.length} bytes"
            except (http.client.HTTPException, OSError) as error:
                block, why = b"", f"after {self._position} bytes: {error}"
            else:
                if block or self.length is None or self._position >= self.length:
                    self._failures = 0
                    if (self._position + len(block)) // _ENOUGH > self._position // _ENOUGH:
                        self._lost = 0
                    self._position += len(block)
                    return block
            self._answer.close()
            self._go_on(FetchError(f"{self.url}: the connection was lost {why}", hint="try again"))

    def _block(self) -> bytes:
        """The next bytes: a block, or what comes before the answer ends or breaks. Raises OSError if it broke."""
        found = b""
        began = time.monotonic()
        try:
            while len(found) < BLOCK and (more := self._answer.read1(BLOCK - len(found))):
                found += more
                if (passed := time.monotonic() - began) > _SLOW_FOR and len(found) < passed * _SLOWEST:
                    self._answer.close()
                    raise FetchError(
                        f"{self.url}: the server sent {len(found)} bytes in {passed:.0f} s", hint="try another server"
                    )
        except (http.client.HTTPException, OSError):
            # What did come is kept, or a server that rests too often would never come to its end.
            if not found:
                raise
        return found

    def _go_on(self, lost: FetchError) -> None:
        """Connect again and be where we were."""
        if not self.validator:
            # What comes now need not be the rest of what came before.
            raise lost
        self._pause(lost)
        self._answer = self._connect(self._position, self.validator)
        if _validator(self._answer) != self.validator or _length(self._answer) != self.length:
            raise FetchError(f"{self.url}: it was changed while it was fetched", hint="try again")
        behind = self._position - _first_byte(self._answer)
        while behind > 0:
            # The server knows no ranges. If this is lost as well, so is the next read.
            skipped = b""
            with contextlib.suppress(http.client.HTTPException, OSError):
                skipped = self._answer.read(min(behind, BLOCK))
            if not skipped:
                self._answer.close()
                self._go_on(lost)
                return
            behind -= len(skipped)

    def _connect(self, offset: int, validator: str) -> Any:
        headers = {"User-Agent": "lago"}
        if offset:
            headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
        while True:
            least = 0.0
            # A new one each time: it remembers where it was led.
            request = urllib.request.Request(self.url, headers=headers)  # noqa: S310 - see check_scheme
            try:
                answer = _opener().open(request, timeout=_TIMEOUT)
                if _first_byte(answer) > offset:
                    answer.close()
                    raise FetchError(
                        f"{self.url}: the server sends another part than it is asked for", hint="try again"
                    )
                return answer
            except urllib.error.HTTPError as error:
                error.close()
                hint = "correct the address" if error.code in (404, 410) else "look at it with curl -I, or try later"
                failure = FetchError(
                    f"{self.url}: the server says {error.code} {error.reason}", code=error.code, hint=hint
                )
                if error.code not in _PASSING:
                    raise failure from None
                least = _seconds(error.headers.get("Retry-After"))
            except urllib.error.URLError as error:
                hint = "is the address right, and a proxy set where one is needed?"
                failure = FetchError(f"{self.url}: {_why(error)}", hint=hint)
                if not _passes(error.reason):
                    raise failure from None
            except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
                failure = FetchError(f"{self.url}: the connection was lost: {error}", hint="try again")
            self._pause(failure, least)

    def _pause(self, failure: FetchError, least: float = 0) -> None:
        """Wait before a new try. Raises `failure` when there were enough."""
        self._failures += 1
        self._lost += 1
        if self._failures >= _TRIES or self._lost >= _MOST_LOST:
            raise failure
        # Others who lost the same server shall not all come back at the same instant.
        seconds = max(least, _PAUSE * 2 ** (self._failures - 1) * random.uniform(0.8, 1.2))  # noqa: S311
        say(f"{failure.what}; trying again in {seconds:.1f} s")
        time.sleep(seconds)


def check_scheme(url: str, schemes: Collection[str] = URL_SCHEMES) -> None:
    """Raise FetchError unless an address begins with one of the schemes that are spoken, or with one of fewer.

    Args:
        schemes: those.
    """
    scheme, found, _ = url.partition("://")
    if not found or scheme.lower() not in schemes:
        raise FetchError(f"{url} is no address that is taken", hint=f"it begins with one of: {_list(schemes)}")


def _list(schemes: Collection[str]) -> str:
    return ", ".join(f"{scheme}://" for scheme in schemes)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow a server where it leads, by http or https alone, and never from https to http."""

    def redirect_request(self, req: urllib.request.Request, *others: Any) -> urllib.request.Request | None:
        to = str(others[-1])
        kinds = ("https",) if req.type == "https" else ("http", "https")
        try:
            check_scheme(to, kinds)
        except FetchError:
            others[0].close()
            raise FetchError(
                f"{req.full_url}: the server leads to {to}, which is not followed from {req.type}",
                hint="if that is right, name that address itself",
            ) from None
        return super().redirect_request(req, *others)


@functools.cache
def _opener() -> urllib.request.OpenerDirector:
    """What opens addresses: without what else Python has, such as ftp. Proxies are those of the environment."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.FileHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _first_byte(answer: Any) -> int:
    """Where the bytes of an answer begin: `Content-Range: bytes 10-99/100`."""
    if getattr(answer, "status", None) != http.client.PARTIAL_CONTENT:
        return 0
    begin = (answer.headers.get("Content-Range") or "").removeprefix("bytes").strip().partition("-")[0]
    return int(begin) if begin.isdigit() else 0


def _length(answer: Any) -> int | None:
    length = answer.headers.get("Content-Length") or ""
    return int(length) + _first_byte(answer) if length.isdigit() else None


def _validator(answer: Any) -> str:
    """What `If-Range` may name: a strong entity tag, or else the date of the last change."""
    tag = answer.headers.get("ETag") or ""
    return str(tag if tag.startswith('"') else answer.headers.get("Last-Modified") or "")


def _seconds(retry_after: str | None) -> float:
    return min(float(retry_after), _PATIENCE) if retry_after and retry_after.isdigit() else 0.0


def _passes(reason: object) -> bool:
    """Whether that may be over soon."""
    if isinstance(reason, socket.gaierror):
        return reason.errno == socket.EAI_AGAIN
    return isinstance(reason, ConnectionError | TimeoutError)


def _why(error: urllib.error.URLError) -> str:
    reason = error.reason
    return str(getattr(reason, "strerror", None) or reason)


def read_text(url: str) -> str:
    """Read a small text at an address. Raises FetchError."""
    content = b""
    for block in Stream(url):
        content += block
        if len(content) > _TEXT_LIMIT:
            raise FetchError(f"{url} has more than {_TEXT_LIMIT >> 20} MiB", hint="is the address right?")
    return content.decode("utf-8", errors="replace")


def fetch(url: str, dest: str) -> None:
    """Write what is at an address into the file `dest`.

    Raises:
        FetchError: it can't be had, or only a part of it.
        HostError: there is no room for it.
    """
    stream = Stream(url)
    with SparseFile(dest) as file:
        for block in stream:
            file.write(block)


_HOLE: Final = 1 << 16
_ZEROS: Final = bytes(_HOLE)


class SparseFile:
    """A file in which long runs of zeros take no space: a new one, or one to `add` to.

    Raises:
        HostError: there is no room for it.
    """

    def __init__(self, path: str, *, add: bool = False) -> None:
        self._path = path
        # Not in mode "ab", which writes at the end only: a hole may come before it.
        self._file: IO[bytes] = open(path, "r+b" if add and os.path.exists(path) else "wb", buffering=0)  # noqa: SIM115
        self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> SparseFile:
        return self

    def __exit__(self, *_: object) -> None:
        # What ends with a hole has its length by this alone.
        with self._file:
            self._file.truncate(self._file.tell())

    def write(self, block: bytes) -> None:
        """Append bytes."""
        try:
            for begin in range(0, len(block), _HOLE):
                piece = block[begin : begin + _HOLE]
                if piece == _ZEROS:
                    self._file.seek(_HOLE, os.SEEK_CUR)
                else:
                    self._put(piece)
        except OSError as error:
            free = shutil.disk_usage(os.path.dirname(self._path) or ".").free >> 20
            raise HostError(f"cannot write {self._path}: {error.strerror}", hint=f"{free} MiB are free") from None

    def _put(self, piece: bytes) -> None:
        rest = memoryview(piece)
        while rest:
            rest = rest[self._file.write(rest) :]
