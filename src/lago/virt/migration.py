"""What the devices of a machine hold, written by QEMU to a file and read back (QEMU's migration stream).

With the capability `x-ignore-shared` the stream leaves memory out that is a file which others can map: that file is
copied apart, by `ram`. Libvirt knows nothing of it, so this goes through QEMU's monitor. A pipe is handed over open,
since QEMU runs in a sandbox where it may start no program.
https://www.qemu.org/docs/master/devel/migration/main.html
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import libvirt
import libvirt_qemu

from ..errors import HypervisorError

_FD: Final = "lago-state"
_NO_LIMIT: Final = 1 << 50
_CAPABILITY: Final = "x-ignore-shared"


def write(domain: libvirt.virDomain, file: int) -> None:
    """Write what the devices of a machine that stands still hold. Raises HypervisorError, OSError, libvirtError."""
    ask(domain, "migrate-set-parameters", {"max-bandwidth": _NO_LIMIT})
    with _without_memory(domain), _outcome(domain) as wait, _pipe(domain, file, writes=True):
        ask(domain, "migrate", {"uri": f"fd:{_FD}"})
        wait()


def read(domain: libvirt.virDomain, file: int) -> None:
    """Bring it back in a machine that was started to wait for it. Raises HypervisorError, OSError, libvirtError."""
    with _without_memory(domain), _outcome(domain) as wait, _pipe(domain, file, writes=False):
        ask(domain, "migrate-incoming", {"uri": f"fd:{_FD}"})
        wait()


def waits(domain: libvirt.virDomain) -> bool:
    """Whether a machine still waits for `read`. Raises libvirtError."""
    return bool(ask(domain, "query-status", {})["status"] == "inmigrate")


def ask(domain: libvirt.virDomain, command: str, arguments: dict[str, Any], files: list[int] | None = None) -> Any:
    """Ask QEMU's monitor something; what it answers. Raises HypervisorError if QEMU refuses, and libvirtError.

    Args:
        files: descriptors that it gets with the request.
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
def _pipe(domain: libvirt.virDomain, file: int, *, writes: bool) -> Iterator[None]:
    """Context manager: QEMU has one end of a pipe, whose other end is copied into a file or out of it.

    By `fd:` QEMU takes no file itself since 11.0, and by another name not before 8.2.
    """
    reader, writer = os.pipe()
    ours, theirs = (reader, writer) if writes else (writer, reader)
    with ThreadPoolExecutor(max_workers=1) as pool:
        copied = pool.submit(_copy, ours, file, writes)
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
            copied.result()
            raise
        copied.result()


def _copy(pipe: int, file: int, writes: bool) -> None:
    with (
        contextlib.suppress(BrokenPipeError),
        open(pipe, "rb" if writes else "wb") as ours,
        open(file, "wb" if writes else "rb", closefd=False) as other,
    ):
        source, dest = (ours, other) if writes else (other, ours)
        shutil.copyfileobj(source, dest)


@contextlib.contextmanager
def _without_memory(domain: libvirt.virDomain) -> Iterator[None]:
    """Context manager: QEMU saves no memory; who lets libvirt save the machine later wants all of it."""

    def switch(state: bool) -> None:
        ask(domain, "migrate-set-capabilities", {"capabilities": [{"capability": _CAPABILITY, "state": state}]})

    switch(True)
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
