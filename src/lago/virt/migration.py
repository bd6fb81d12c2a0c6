"""What the devices of a machine hold, written by QEMU to a file and read back (QEMU's migration stream).

With the capability `x-ignore-shared` the stream leaves memory out that is a file which others can map: that file is
copied apart, by `memory`. Memory of another kind is in the stream. Libvirt knows nothing of it, so this goes through
QEMU's monitor. A pipe is handed over open, since QEMU runs in a sandbox where it may start no program.
https://www.qemu.org/docs/master/devel/migration/main.html
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, BinaryIO, Final

import libvirt
import libvirt_qemu

from ..errors import HypervisorError
from ..host.waiting import poll
from . import stream

_FD: Final = "lago-state"
_NO_LIMIT: Final = 1 << 50
_WAS_SAVED: Final = "postmigrate"
_INSTANT: Final = 60.0


def write(domain: libvirt.virDomain, file: int) -> None:
    """Write what the devices of a machine that stands still hold, a stream without its memory.

    Where others can't map the memory, no other is in the stream either, and it does not name the machine.

    Raises:
        HypervisorError: QEMU refuses.
        OSError: the file can't be written.
        libvirtError: libvirt refuses.
    """
    if any(one["share"] for one in ask(domain, "query-memdev", {})):
        write_all(domain, file)
    else:
        with open(file, "wb", closefd=False) as dest:
            dest.write(_devices(domain))


def write_all(domain: libvirt.virDomain, file: int) -> None:
    """Write that with its memory, unless others can map that. Raises as `write` does."""
    if ask(domain, "query-status", {})["status"] == _WAS_SAVED:
        # QEMU does it only once while a machine stands still, so that goes on for an instant.
        domain.resume()
        domain.suspend()
    ask(domain, "migrate-set-parameters", {"max-bandwidth": _NO_LIMIT})
    with _without_memory(domain), _outcome(domain) as wait, _pipe(domain, partial(_drain, file), writes=True):
        ask(domain, "migrate", {"uri": f"fd:{_FD}"})
        wait()
    # It says that all is written an instant before it lets the machine go on.
    poll(partial(_finished, domain), _INSTANT, threading.Event(), HypervisorError)


def _finished(domain: libvirt.virDomain) -> None:
    if ask(domain, "query-status", {})["status"] == "finish-migrate":
        raise HypervisorError("QEMU does not finish what it saved")


def _devices(domain: libvirt.virDomain) -> bytes:
    """Have QEMU write devices alone, by a command that is there for Xen and is no part of that.

    By default it would also give up the machine's images.
    https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html
    """
    with open(os.memfd_create("lago-devices"), "rb") as file:
        # QEMU takes only what can't be read.
        with open(f"/proc/self/fd/{file.fileno()}", "wb", buffering=0) as theirs:
            number = ask(domain, "add-fd", {}, [theirs.fileno()])["fdset-id"]
        try:
            ask(domain, "xen-save-devices-state", {"filename": f"/dev/fdset/{number}", "live": False})
        finally:
            ask(domain, "remove-fd", {"fdset-id": number})
        return file.read()


def read(domain: libvirt.virDomain, source: BinaryIO, names: Mapping[str, str], *, shared: bool) -> None:
    """Bring it back in a machine that was started to wait for it. Raises HypervisorError, OSError, libvirtError.

    Args:
        source: what was written.
        names: blocks of memory that have other names in the machine now, by those that they had.
        shared: whether there may be pages of memory which others can map in the machine now.
    """
    head = stream.head(source)
    head = head.with_shared() if shared else head
    without = stream.IGNORE_SHARED in head.capabilities
    feed = partial(_feed, source, head, names)
    with _without_memory(domain, without), _outcome(domain) as wait, _pipe(domain, feed, writes=False):
        ask(domain, "migrate-incoming", {"uri": f"fd:{_FD}"})
        wait()


def blocked(domain: libvirt.virDomain) -> list[str]:
    """Why QEMU can't save a machine, in its words; nothing if it can. Raises HypervisorError, libvirtError."""
    return list(ask(domain, "query-migrate", {}).get("blocked-reasons", ()))


def tell(domain: libvirt.virDomain, line: str) -> str:
    """What QEMU's monitor for people answers. Raises libvirtError."""
    text = libvirt_qemu.qemuMonitorCommand(domain, line, libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP)
    return str(text).replace("\r\n", "\n")


def waits(domain: libvirt.virDomain) -> bool:
    """Whether a machine still waits for `read`. Raises libvirtError."""
    return bool(ask(domain, "query-status", {})["status"] == "inmigrate")


def ask(domain: libvirt.virDomain, command: str, arguments: dict[str, Any], files: list[int] | None = None) -> Any:
    """Have QEMU do what a command of its monitor says, and return its answer.

    Args:
        files: descriptors that go with it.

    Raises:
        HypervisorError: QEMU refuses.
        libvirtError: libvirt refuses, or the machine has ended.
    """
    request = json.dumps({"execute": command, "arguments": arguments})
    if files is None:
        text = libvirt_qemu.qemuMonitorCommand(domain, request, 0)
    else:
        text, _ = libvirt_qemu.qemuMonitorCommandWithFiles(domain, request, files, 0)
    answer = json.loads(text)
    if "error" in answer:
        raise HypervisorError(f"QEMU refuses {command}: {answer['error']['desc']}")
    return answer["return"]


@contextlib.contextmanager
def _pipe(domain: libvirt.virDomain, serve: Callable[[int], None], *, writes: bool) -> Iterator[None]:
    """Context manager: QEMU has one end of a pipe, to write to if it `writes`; `serve` has the other and closes it.

    By `fd:` QEMU takes no file itself since 11.0, and by another name not before 8.2.
    """
    reader, writer = os.pipe()
    ours, theirs = (reader, writer) if writes else (writer, reader)
    with ThreadPoolExecutor(max_workers=1) as pool:
        served = pool.submit(serve, ours)
        try:
            try:
                ask(domain, "getfd", {"fdname": _FD}, [theirs])
            finally:
                os.close(theirs)
            yield
        except BaseException:
            # It may not have come to use it.
            with contextlib.suppress(HypervisorError, libvirt.libvirtError):
                ask(domain, "closefd", {"fdname": _FD})
            # A file that can't be written is why, and not the pipe that broke then.
            served.result()
            raise
        served.result()


def _drain(file: int, pipe: int) -> None:
    with open(pipe, "rb") as source, open(file, "wb", closefd=False) as dest:
        shutil.copyfileobj(source, dest)


def _feed(source: BinaryIO, head: stream.Head, names: Mapping[str, str], pipe: int) -> None:
    with contextlib.suppress(BrokenPipeError), open(pipe, "wb", buffering=0) as dest:
        stream.copy(source, head, dest.fileno(), names)


@contextlib.contextmanager
def _without_memory(domain: libvirt.virDomain, without: bool = True) -> Iterator[None]:
    """Context manager: QEMU saves no memory that is shared; who lets libvirt save the machine later wants all of it."""

    def switch(state: bool) -> None:
        ask(
            domain, "migrate-set-capabilities", {"capabilities": [{"capability": stream.IGNORE_SHARED, "state": state}]}
        )

    switch(without)
    try:
        yield
    finally:
        with contextlib.suppress(libvirt.libvirtError):
            switch(False)


@contextlib.contextmanager
def _outcome(domain: libvirt.virDomain) -> Iterator[Callable[[], None]]:
    """Context manager: something is started that ends; yields a function that waits for its end."""
    ended = threading.Event()

    def on_event(_con: Any, _domain: Any, _event: str, _s: int, _us: int, details: str, _opaque: Any) -> None:
        if json.loads(details)["status"] in ("completed", "failed"):
            ended.set()

    def wait() -> None:
        # Asked from time to time as well: a machine that dies says nothing more.
        while True:
            ended.wait(1)
            found = ask(domain, "query-migrate", {})
            if found.get("status") == "completed":
                return
            if found.get("status") == "failed":
                raise HypervisorError(f"QEMU can't: {found.get('error-desc', 'it does not say why')}")

    connection = domain.connect()
    watch = libvirt_qemu.qemuMonitorEventRegister(connection, domain, "MIGRATION", on_event, None, 0)
    try:
        yield wait
    finally:
        libvirt_qemu.qemuMonitorEventDeregister(connection, watch)
