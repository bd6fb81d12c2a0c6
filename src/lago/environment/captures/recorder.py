"""The program that records the packets of a net: it reads what a capturing program says, and writes the files.

    tcpdump, or dumpcap, in the namespaces ── pcap, by a pipe ──> this program, outside ── pcapng ──> captures/NET-TIME…

It is on its own (`host.beside`), holds the net's lock by which it is found, and ends with the capturing program, and so
with the environment; the files are whole then. SIGTERM ends both.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ...host.files import json_text, write_atomically
from ...host.programs import PIPE, Process, spawn
from ...host.waiting import readable
from ...journal.writing import Journal
from . import pcapng
from .ring import Ring

if TYPE_CHECKING:
    from types import FrameType

_CHUNK: Final = 1 << 18
_MOST_WORDS: Final = 4096
_LISTENING: Final = re.compile(rb"listening on|^File: ", re.MULTILINE)
"""What tcpdump and dumpcap say when they have begun. The header of their output may come before they fail."""

_DROPPED: Final = re.compile(r"(\d+) packets? dropped by kernel|received/dropped on interface .*: \d+/(\d+) ")
_PROGRAM: Final = "Lago"


def main(*words: str) -> None:
    """Record until the capturing program ends, or we are told to end.

    Args:
        words: settings as JSON, as `acts` makes them; a descriptor on which it is said that all is well, or why not.
    """
    settings, ready = json.loads(words[0]), int(words[1])
    os.set_inheritable(ready, False)
    told: dict[str, Any] = {}
    recording = Recording(settings)
    try:
        with spawn(settings["argv"], stdout=PIPE, stderr=PIPE) as program:
            recording.follow(program, ready)
    except Exception as error:
        told["error"] = str(error)
    recording.end(told)
    with contextlib.suppress(OSError):
        os.write(ready, json.dumps({"error": told.get("error") or recording.words or "it ended at once"}).encode())


class Recording:
    """What comes of one capture.

    Args:
        settings: as for `main`.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._reader = pcapng.Reader()
        self._ring: Ring | None = None
        self._said = b""
        self._begun = False
        self._packets = 0
        nics = settings["interfaces"]
        self._numbers = {bytes.fromhex(nic["mac"].replace(":", "")): at for at, nic in enumerate(nics) if nic["mac"]}

    @property
    def words(self) -> str:
        """What the capturing program said that is not of its every day."""
        lines = self._said.decode(errors="replace").splitlines()
        return "\n".join(line for line in lines if not _USUAL.match(line))

    def follow(self, program: Process, ready: int) -> None:
        """Write what a program says until it ends; say on `ready` when it has begun. Raises OSError, ValueError."""
        assert program.stdout is not None
        assert program.stderr is not None
        out, err = program.stdout.fileno(), program.stderr.fileno()

        def ask_to_end(_number: int, _frame: FrameType | None) -> None:
            _ask_below(program.pid)

        signal.signal(signal.SIGTERM, ask_to_end)
        streams = [out, err]
        try:
            while streams:
                for fd in readable(streams, None):
                    data = os.read(fd, _CHUNK)
                    if not data:
                        streams.remove(fd)
                    elif fd == err:
                        self._said = (self._said + data)[-_MOST_WORDS:]
                    else:
                        self._write(self._reader.feed(data))
                if not self._begun and self._ring is not None and _LISTENING.search(self._said):
                    self._begin(ready)
        finally:
            # If we can't write, it has nobody to say anything to.
            _ask_below(program.pid)

    def _begin(self, ready: int) -> None:
        """Record that it has begun, and tell whoever waits for that."""
        self._begun = True
        self._save({})
        with contextlib.suppress(BrokenPipeError):
            os.write(ready, b'{"ok": true}')

    def _write(self, packets: Iterable[pcapng.Packet]) -> None:
        if self._ring is None:
            if not self._reader.begun:
                return
            self._ring = Ring(self._settings["file"], self._head(), self._settings["size"], self._settings["files"])
        blocks = []
        for one in packets:
            self._packets += 1
            # Who claims to have sent it.
            blocks.append(pcapng.packet(one, self._numbers.get(one.data[6:12], 0)))
        self._ring.write(blocks)

    def _head(self) -> bytes:
        settings = self._settings
        interfaces = [
            pcapng.interface(
                one["name"],
                link_type=self._reader.link_type,
                most=settings["snaplen"],
                description=one["description"],
                comment=one["comment"],
                mac=one["mac"],
                filter_=settings["filter"],
            )
            for one in settings["interfaces"]
        ]
        head = [pcapng.section(f"{_PROGRAM} {settings['version']}", settings["comment"]), *interfaces]
        return b"".join([*head, pcapng.names(settings["names"])])

    def end(self, told: Mapping[str, Any]) -> None:
        """Record how it ended.

        Args:
            told: has `error` if it ended because something failed.
        """
        if not self._begun:
            if self._ring is not None:
                self._ring.close()
                os.unlink(self._settings["file"])
            return
        assert self._ring is not None
        found = _DROPPED.search(self._said.decode(errors="replace"))
        dropped = int(found[1] or found[2]) if found else None
        with contextlib.suppress(OSError):
            self._ring.write([pcapng.statistics(0, time.time_ns(), self._packets, dropped)])
        self._ring.close()
        more = {"packets": self._packets, "dropped": dropped, **told}
        self._save({"until": time.time(), **more})
        outcome = "failed" if "error" in told else "ok"
        known = {key: value for key, value in more.items() if value is not None}
        # It needs packages of the site if it begins a new file, which are not seen here.
        with contextlib.suppress(ImportError):
            Journal(self._settings["prefix"]).event("end", id=self._settings["span"], outcome=outcome, **known)

    def _save(self, more: Mapping[str, Any]) -> None:
        """Write down what is known of the capture; a prefix that is gone needs that no more."""
        with contextlib.suppress(OSError):
            write_atomically(self._settings["state"], json_text({**self._settings["facts"], **more}))


_USUAL: Final = re.compile(
    r"(tcpdump: )?(listening on|verbose output suppressed|\d+ packets? |dropped privs)|Capturing on|File: |Packets|\s*$"
)
"""Lines that capturing programs write in any case."""


def _ask_below(pid: int) -> None:
    """Ask the capturing program to end, which is below the one that entered the namespaces (proc(5), `children`)."""
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            below = file.read().split()
        for one in below or [str(pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(one), signal.SIGTERM)
