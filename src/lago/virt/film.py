"""Films of machines: of the screen by ffmpeg, of the serial console as asciicast.

Source of the latter: https://docs.asciinema.org/manual/asciicast/v2/
"""

from __future__ import annotations

import codecs
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import IO, Any, Final

import libvirt

from .. import config
from ..errors import HypervisorError, LagoError, VMNotRunning
from ..host import long_logs
from ..host.files import replacing
from ..host.inotify import Directory
from ..host.programs import PIPE, package_hint, spawn, tail, which
from ..host.waiting import within
from ..log import LOG
from . import picture, screen
from .console import is_alive
from .machine import Machine

_RATES: Final = (0.1, 30.0)
_LINES: Final = 24
_COLUMNS: Final = 80
_LOOK: Final = 5.0
_AGAIN: Final = 0.1
_CHUNK: Final = 1 << 16

_FORMS: Final[dict[str, list[str]]] = {
    # The quickest way to encode: a film must be whole moments after Ctrl-C, on a busy host too.
    ".webm": [
        "-c:v",
        "libvpx",
        "-deadline",
        "realtime",
        "-cpu-used",
        "8",
        "-crf",
        "10",
        "-b:v",
        "2M",
        "-pix_fmt",
        "yuv420p",
        "-f",
        "webm",
    ],
    ".gif": ["-f", "gif"],
}
_GIF: Final = ",split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1:dither=none"
"""Colours of its own for each frame, so that none has to be held back until all are known."""


def film(machine: Machine, path: str, *, duration: float | None, rate: float, begun: Callable[[], None]) -> None:
    """Record a film until `duration` is over, the machine ends, or Ctrl-C; there is a file then, and not before.

    Args:
        path: the file; its ending says of what it is, `.webm` and `.gif` of the screen, `.cast` of the console.
        duration: seconds; None for no such end.
        rate: frames of the screen a second.
        begun: is called when the first of it is recorded.

    Raises:
        VMNotRunning: it does not run.
        LagoError: there is no such form, a value is out of its bounds, or ffmpeg fails.
        HostError: ffmpeg is not installed.
        OSError: the file can't be written.
    """
    form = os.path.splitext(path)[1].lower()
    if form not in (*_FORMS, ".cast"):
        known = ", ".join([*_FORMS, ".cast"])
        raise LagoError(f"{path}: the ending says what kind of film it is, one of {known}", hint="as in boot.webm")
    if not _RATES[0] <= rate <= _RATES[1]:
        raise LagoError(f"a film has {_RATES[0]:g} to {_RATES[1]:g} frames a second, not {rate:g}")
    if duration is not None and not 0 < duration < math.inf:
        raise LagoError(f"a film lasts for more than 0 seconds, not {duration:g}")
    machine.must_run()
    if form == ".cast":
        with replacing(path) as temporary, open(temporary, "x", encoding="utf-8") as file:
            _until_interrupted(lambda: _record_console(machine, file, duration, begun))
    else:
        if not which("ffmpeg"):
            raise LagoError(
                f"{path}: a {form[1:]} is made by ffmpeg, which is not installed",
                hint=f"{package_hint('ffmpeg')}; or record the console, as in boot.cast",
            )
        with replacing(path) as temporary:
            # Whoever may not write there is told by us.
            open(temporary, "xb").close()
            _record_screen(machine, temporary, form, duration, rate, begun)


def _until_interrupted(record: Callable[[], None]) -> None:
    try:
        record()
    except KeyboardInterrupt:
        LOG.debug("the film ends, as we are interrupted")


def _record_screen(
    machine: Machine, path: str, form: str, duration: float | None, rate: float, begun: Callable[[], None]
) -> None:
    kind, first = screen.take(machine)
    width, height = picture.size(first)
    # A screen may change its size, a film not.
    fit = f"scale={width}:{height}:force_original_aspect_ratio=decrease:flags=neighbor,pad={width}:{height}:-1:-1"
    source = "png_pipe" if kind == "image/png" else "ppm_pipe"
    argv = [
        "ffmpeg",
        "-nostdin",
        "-hide_banner",
        "-loglevel",
        "error",
        "-f",
        source,
        "-framerate",
        f"{rate:g}",
        "-i",
        "pipe:0",
        "-vf",
        fit + (_GIF if form == ".gif" else ""),
        *_FORMS[form],
        "-y",
        f"file:{path}",
    ]
    with tempfile.TemporaryFile() as words:
        # The film is whole when ffmpeg has read all: it gets no Ctrl-C, and as much time as it takes.
        with spawn(argv, stdin=PIPE, stdout=words, stderr=words, ask=None, grace=None, process_group=0) as ffmpeg:
            assert ffmpeg.stdin is not None
            sink = ffmpeg.stdin

            def record() -> None:
                for number, frame in enumerate(_frames(machine, first, duration, rate)):
                    sink.write(frame)
                    if number == 0:
                        sink.flush()
                        begun()

            try:
                _until_interrupted(record)
            except BrokenPipeError:
                # It says why.
                LOG.debug("ffmpeg takes no more frames")
            _close(sink)
        if ffmpeg.returncode:
            words.seek(0)
            said = tail(words.read(_CHUNK).decode(errors="replace"))
            raise LagoError("ffmpeg made no film", details=said or f"exit code {ffmpeg.returncode}")


def _close(sink: IO[bytes]) -> None:
    try:
        sink.close()
    except BrokenPipeError:
        LOG.debug("ffmpeg took not all")


def _frames(machine: Machine, first: bytes, duration: float | None, rate: float) -> Iterator[bytes]:
    """Pictures of a screen, `rate` a second by the clock: what takes too long stands for those that it missed."""
    last = math.inf if duration is None else max(1, round(duration * rate))
    began, sent, frame = time.monotonic(), 0, first
    while True:
        due = min(last, int((time.monotonic() - began) * rate) + 1)
        while sent < due - 1:
            sent += 1
            yield frame
        if sent:
            try:
                _, frame = screen.take(machine)
            except (VMNotRunning, HypervisorError, libvirt.libvirtError):
                if not _ends(machine):
                    raise
                LOG.info("%s ended, and the film with it", machine.name())
                return
        if sent < due:
            sent += 1
            yield frame
        if sent >= last:
            return
        # Frames come by the clock.
        time.sleep(max(0.0, began + sent / rate - time.monotonic()))


def _ends(machine: Machine) -> bool:
    """Whether a machine of which there was no picture ends just now, which libvirt may see a little later."""
    for left in within(_LOOK):
        if not is_alive(machine):
            return True
        machine.env.cancelled.wait(min(left, _AGAIN))
    return False


def _record_console(machine: Machine, file: IO[str], duration: float | None, begun: Callable[[], None]) -> None:
    cast = Cast(file, machine.name(), time.time())
    log = _Growing(machine.console_log())
    with log:
        began = time.monotonic()
        cast.write(0, log.shown())
        begun()
        end = math.inf if duration is None else began + duration
        try:
            while (now := time.monotonic()) < end:
                ended = False
                if not (data := log.more()):
                    # Asked first: what it said until it ended is in the log then.
                    ended = not is_alive(machine)
                    data = log.more()
                if data:
                    if not cast.write(now - began, data):
                        return
                    continue
                if ended:
                    LOG.info("%s ended, and the film with it", machine.name())
                    return
                log.wait(min(_LOOK, end - now))
        except KeyboardInterrupt:
            # What was said until then belongs to it.
            if data := log.more():
                cast.write(time.monotonic() - began, data)
            raise


class Cast:
    """An asciicast, version 2: a header and then what a terminal gets, each a line of JSON.

    Args:
        file: where it is written.
        name: of the machine.
        began: seconds since 1970.
    """

    def __init__(self, file: IO[str], name: str, began: float) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._most: int = config.get("log_limit") << 20
        self._line(
            {
                "version": 2,
                "width": _COLUMNS,
                "height": _LINES,
                "timestamp": int(began),
                "title": f"{name}: console",
                "env": {"TERM": "vt220"},
            }
        )

    def _line(self, value: Any) -> None:
        line = json.dumps(value) + "\n"
        self._file.write(line)
        self._most -= len(line)

    def write(self, at: float, data: bytes) -> bool:
        """Write what a terminal gets; whether there is room for more.

        Args:
            at: seconds since the begin.
        """
        if text := self._decoder.decode(data):
            self._line([round(at, 6), "o", text])
        if self._most < 0:
            LOG.warning("the film ends, as it is as large as log_limit lets a log be")
        return self._most >= 0


class _Growing:
    """The log of a console, as it grows or is replaced."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._directory = Directory(os.path.dirname(path))
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by __exit__
        self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._directory.close()
        self._file.close()

    def shown(self) -> bytes:
        """What a screen would show of it now: its last lines."""
        end = self._file.tell()
        at = max(long_logs.begin(self._file.fileno()), end - _LINES * _COLUMNS)
        lines = os.pread(self._file.fileno(), max(0, end - at), at).split(b"\n")
        return b"\n".join(lines[-_LINES:])

    def more(self) -> bytes:
        """What was written since the last time, or some of that."""
        if data := self._file.read(_CHUNK):
            return data
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return b""
        ours = os.fstat(self._file.fileno())
        if os.path.samestat(found, ours):
            if found.st_size < self._file.tell():
                self._file.seek(0)
            return b""
        self._file.close()
        self._file = open(self._path, "rb", buffering=0)  # noqa: SIM115 - closed by __exit__
        return self._file.read(_CHUNK) or b""

    def wait(self, timeout: float) -> None:
        """Return when something may have been written, at the latest after `timeout` seconds."""
        self._directory.wait(timeout)
