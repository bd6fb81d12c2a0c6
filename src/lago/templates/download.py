"""How an image arrives: fetched, unpacked, hashed and written at the same time, in threads that wait for each other.

While it is fetched its bytes are kept as they come, in `<dest>.fetched`, from where a later try goes on.
"""

from __future__ import annotations

import contextlib
import contextvars
import hashlib
import itertools
import json
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from ..errors import TemplateError
from ..host import shape
from ..host.fetch import BLOCK, SparseFile, Stream
from ..host.files import write_atomically
from ..log import say
from .checksums import Checksum
from .unpack import opener

_AHEAD: Final = 8
"""Blocks that a thread may have made before they are wanted."""

_MOST = 1 << 40
"""Bytes of an image, unpacked: a few of packed zeros may be any number of them."""

_HEAD: Final = 512
"""Bytes that tell what something is."""


def fetch_image(stream: Callable[[int, str], Stream], dest: str, checksum: Checksum | None) -> str:
    """Write the image at an address to `dest`, unpacked and verified.

    Args:
        stream: opens it; from the bytes and with the validator of an earlier try.
        checksum: what is published.

    Returns:
        The SHA-256 of the image.

    Raises:
        FetchError: it can't be had; what came is kept for the next try.
        TemplateError: it is damaged, or no image.
        HostError: there is no room for it.
    """
    kept = _Kept(f"{dest}.fetched")
    # Without a checksum nothing would tell whether what is kept survived a power failure.
    opened = stream(*kept.state() if checksum else (0, ""))
    try:
        return receive(kept.and_more(opened), dest, checksum, source=opened.url, as_is=kept.path)
    except TemplateError:
        kept.remove()
        if not opened.start:
            raise
        say(f"{opened.url}: what an earlier try left is damaged, starting again")
    return fetch_image(stream, dest, checksum)


class _Kept:
    """The bytes of an address that are here already, in the file `path`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._note = f"{path}.json"

    def state(self) -> tuple[int, str]:
        """How many, and the validator of the content that they are of."""
        try:
            with open(self._note, encoding="utf-8") as file:
                return os.path.getsize(self.path), shape.record({"validator": shape.text()})(shape.parse(file.read()))[
                    "validator"
                ]
        except (OSError, ValueError):
            return 0, ""

    def and_more(self, stream: Stream) -> Iterator[bytes]:
        """Yield all bytes of a stream from 0: those that are here, and then its own, which are added."""
        more = ahead(stream)
        if not stream.start:
            self.remove()
            write_atomically(self._note, json.dumps({"validator": stream.validator}))
        else:
            say(f"{stream.url}: going on after {stream.start >> 20} MiB")
            os.truncate(self.path, stream.start)
            yield from _blocks_of(self.path)
        with SparseFile(self.path, add=True) as file:
            for block in more:
                file.write(block)
                yield block

    def remove(self) -> None:
        for path in (self.path, self._note):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def copy_image(source: str, dest: str, checksum: Checksum | None) -> str:
    """Copy an image as `fetch_image` does, from a file. Raises OSError if it can't be read."""
    return receive(ahead(_blocks_of(source)), dest, checksum, source=source)


def _blocks_of(path: str) -> Iterator[bytes]:
    with open(path, "rb", buffering=0) as file:
        while block := file.read(BLOCK):
            yield block


def receive(
    blocks: Iterator[bytes], dest: str, checksum: Checksum | None, *, source: str, as_is: str | None = None
) -> str:
    """Write an image to `dest`, unpacked and verified.

    Args:
        blocks: the bytes, packed or not.
        source: where they come from, for people.
        as_is: a file that has the same bytes when all were taken; it becomes `dest` if they need no unpacking.

    Returns:
        The SHA-256 of the image.

    Raises:
        TemplateError: it is damaged, or no image.
    """
    head, blocks = _peek(blocks)
    unpack = opener(head)
    image = hashlib.sha256()
    published = checksum.new() if checksum else image
    of_file = unpack is not None and checksum is not None and checksum.packed
    if published.name == image.name and not of_file:
        # Both of the same bytes.
        published = image
    if of_file:
        blocks = _hash(blocks, published)
    if unpack:
        head, blocks = _peek(ahead(unpack(blocks, source)))
    _refuse_what_is_no_image(head, source)
    digests = {image} if of_file else {image, published}
    with contextlib.nullcontext() if as_is and not unpack else SparseFile(dest) as file:
        size = 0
        for block in blocks:
            size += len(block)
            if size > _MOST:
                raise TemplateError(f"{source} has more than {_MOST >> 40} TiB", hint="use a smaller image")
            for digest in digests:
                digest.update(block)
            if file:
                file.write(block)
    if checksum:
        checksum.check(published.hexdigest(), source)
    if as_is and not unpack:
        os.rename(as_is, dest)
    return image.hexdigest()


def _peek(blocks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Read the first bytes, and return them and an iterator of all."""
    head = b""
    for block in blocks:
        head += block
        if len(head) >= _HEAD:
            break
    return head[:_HEAD], itertools.chain([head], blocks)


def _refuse_what_is_no_image(head: bytes, source: str) -> None:
    if not head:
        raise TemplateError(f"{source} is empty", hint="is that an image?")
    if head.lstrip().startswith(b"<") and b"\0" not in head:
        text = head.decode(errors="replace").strip()
        raise TemplateError(f"{source} is a page for people, not an image", details=text, hint="correct the address")


def _hash(blocks: Iterable[bytes], digest: Any) -> Iterator[bytes]:
    for block in blocks:
        digest.update(block)
        yield block


def ahead(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Read blocks ahead, in a thread of their own, before they are wanted; they are the same."""
    made: queue.Queue[bytes | BaseException | None] = queue.Queue(_AHEAD)
    unwanted = threading.Event()

    def put(item: bytes | BaseException | None) -> bool:
        while not unwanted.is_set():
            with contextlib.suppress(queue.Full):
                made.put(item, timeout=0.1)
                return True
        return False

    def work() -> None:
        try:
            for block in blocks:
                if not put(block):
                    return
        except BaseException as error:
            put(error)
        else:
            put(None)

    # A read that hangs must not keep a process that was told to end; so nobody waits for this.
    threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True).start()
    try:
        while (item := made.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        unwanted.set()
