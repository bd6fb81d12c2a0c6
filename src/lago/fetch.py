"""Files from elsewhere: by http, https or from this host."""

from __future__ import annotations

import http.client
import shutil
import time
import urllib.error
import urllib.request
from typing import IO, Final

from .errors import HostError, LagoError
from .log import say

_TIMEOUT: Final = 60
"""Seconds without a byte after which the other side counts as gone."""

_EVERY: Final = 5.0
"""Seconds between two words on how far it is."""

_BLOCK: Final = 1 << 20


def fetch(url: str, dest: str) -> None:
    """Write what is at an address into the file `dest`; proxies are those that the environment names.

    Raises:
        LagoError: it can't be had, or only a part of it.
        HostError: there is no room for it.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "lago"})  # noqa: S310 - see constants.URL_SCHEMES
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer, open(dest, "wb") as file:  # noqa: S310
            length = answer.headers.get("Content-Length")
            _copy(url, answer, file, int(length) if length and length.isdigit() else None)
    except urllib.error.HTTPError as error:
        error.close()
        hint = "correct the address" if error.code in (404, 410) else "look at it with curl -I, or try again later"
        raise LagoError(f"{url}: the server says {error.code} {error.reason}", hint=hint) from None
    except urllib.error.URLError as error:
        raise LagoError(
            f"{url}: {_why(error)}", hint="is the address right, and a proxy set where one is needed?"
        ) from None
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise LagoError(f"{url}: the connection was lost: {error}", hint="try again") from None


def _copy(url: str, answer: IO[bytes], file: IO[bytes], length: int | None) -> None:
    done, shown = 0, time.monotonic()
    while block := answer.read(_BLOCK):
        try:
            file.write(block)
        except OSError as error:
            free = shutil.disk_usage(file.name).free >> 20
            raise HostError(f"{url}: cannot write {file.name}: {error.strerror}", hint=f"{free} MiB are free") from None
        done += len(block)
        if time.monotonic() - shown > _EVERY:
            shown = time.monotonic()
            say(f"{url}: {done >> 20}{f' of {length >> 20}' if length else ''} MiB")
    if length is not None and done < length:
        raise LagoError(f"{url}: the connection was lost after {done} of {length} bytes", hint="try again")


def _why(error: urllib.error.URLError) -> str:
    reason = error.reason
    return str(getattr(reason, "strerror", None) or reason)
