"""Copying between this host and a guest, by one tar stream over the shared connection.

What arrives is unpacked beside its target and renamed, so that no target is ever half there. Modes, times and symbolic
links inside of trees are kept, owners are not. Paths of what is copied are followed if they are symbolic links; so are
targets on a guest, but not those on this host: what a guest sends must not get where an earlier copy has a link.

A name is any bytes but NUL; as text, those that are no UTF-8 are surrogates, as `os.fsdecode` makes them.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import shlex
import signal
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Final

from ..errors import LagoError, VMError
from ..host.full import says_full
from ..host.parallel import Closing
from ..host.programs import DEVNULL, PIPE, Process, spawn
from ..host.waiting import pidfd, readable, wait_for_end, writable
from ..log import LOG
from . import unpacking
from .ssh import Guest
from .unpacking import Part

Count = Callable[[int], object]
"""Called with the number of bytes that have just been passed on."""

_CHUNK: Final = 1 << 20
_MARK: Final = ".lago-complete"
"""Last in a stream to a guest: tar does not notice that one ends early between two files."""

_IDLE = 600.0
"""Seconds without a byte after which the guest counts as gone."""

_STRAY: Final = ("changed as we read it", "removed before we read it", "socket ignored")

_KEPT: Final = 16 << 10
"""Bytes of what programs say; a guest may say as much as it likes."""

_MEMORY: Final = 1 << 30
"""Bytes of the address space of a tar that reads what a guest sends."""

_KEEP: Final = "--skip-old-files"
"""Nothing in a stream may take the place of something before it. GNU tar gives directories their modes last, and if a
link has come to be where one was, with the same number of an inode, it changes what that leads to."""

# Both run in whatever the guest has for a shell, with its tar, be that GNU's or busybox's. What is within another path
# is sent once.
_SEND: Final = r"""
export LC_ALL=C
quoting=
case "$*" in *\\*) tar --no-unquote --version >/dev/null 2>&1 && quoting=--no-unquote ;; esac
left=$#
while [ $left -gt 0 ]; do
    left=$((left - 1))
    path=$1 real=
    shift
    [ -e "$path" ] && real=$(readlink -f -- "$path")
    printf '%s\0' "$real"
    [ -z "$real" ] || set -- "$@" ".$real"
done
[ $# -gt 0 ] || exit 0
left=$#
while [ $left -gt 0 ]; do
    left=$((left - 1))
    path=$1
    shift
    for other; do
        case $path/ in "${other%/}"/*) continue 2 ;; esac
    done
    set -- "$@" "$path"
done
cd / && exec tar -c $quoting -f - "$@"
"""
_RECEIVE: Final = r"""
export LC_ALL=C
fail() {
    echo "$1" >&2
    exit 1
}
place() {
    if [ -d "$2" ]; then
        [ -d "$1" ] || fail "$2 is a directory"
        cp -a -l -f "$1/." "$2/"
    elif [ -d "$1" ]; then
        [ ! -e "$2" ] || fail "$2 is not a directory"
        mv -- "$1" "$2"
    else
        [ ! -e "$2" ] || [ -f "$2" ] || fail "$2 is neither a file nor a directory"
        to=$2
        [ ! -L "$2" ] || to=$(readlink -f -- "$2")
        mv -f -- "$1" "$to"
    fi
}
into=$1 stage=$2 mark=$3
shift 3
if [ ! -d "$into" ]; then
    [ $# = 2 ] || fail "$into is not a directory"
    case $into in */) fail "$into: no such directory" ;; esac
    set -- "$1" "$(basename -- "$into")"
    into=$(dirname -- "$into")
    [ -d "$into" ] || fail "$into: no such directory"
fi
stage=$into/$stage
mkdir -- "$stage" || exit
trap 'rm -rf -- "$stage"' EXIT
trap 'exit 1' HUP INT TERM
tar -x -o -p -f - -C "$stage" || exit
[ -e "$stage/$mark" ] || fail "the stream ended early"
while [ $# -gt 0 ]; do
    place "$stage/$1" "$into/$2" || exit
    shift 2
done
"""


def _ignore(_number: int) -> None:
    pass


def copy_to(guest: Guest, local: str | Sequence[str], remote: str, on_bytes: Count = _ignore) -> None:
    """Copy files and trees to a guest, as `scp -r` does: into `remote` if that is a directory, else to that name.

    A tree is merged with one that is there.

    Raises:
        LagoError: something can't be read here.
        VMError: the guest can't take it; nothing of it is left there.
        SSHError: the connection is not there, or was lost.
    """
    paths = [local] if isinstance(local, str) else list(local)
    for path in paths:
        if not os.access(path, os.R_OK):
            why = "can't be read" if os.path.lexists(path) else "is not there"
            raise LagoError(f"{path} {why}, on this host; it was to be copied to {guest.name}")
    sources = [os.path.split(os.path.realpath(path)) for path in paths]
    names = [os.path.basename(os.path.abspath(path)) for path in paths]
    members = [member for _, member in sources]
    if min(len(set(members)), len(set(names))) < len(paths):
        raise LagoError(f"several files of one name can't be copied to {guest.name} at once: {', '.join(paths)}")
    pairs = [word for pair in zip(members, names, strict=True) for word in pair]
    stage = unpacking.STAGE + os.urandom(4).hex()
    command = shlex.join(["sh", "-c", _RECEIVE, "sh", remote, stage, _MARK, *pairs])
    what = f"{guest.name}: {', '.join(paths)} can't be copied to {remote}"
    with (
        tempfile.TemporaryDirectory(prefix=unpacking.STAGE) as room,
        _Heard() as here,
        _Heard() as there,
    ):
        with open(os.path.join(room, _MARK), "wb"):
            pass
        operands = [word for at, member in [*sources, (room, _MARK)] for word in (f"-C{at}", f"./{member}")]
        tar = ["tar", "-c", "--no-unquote", "-f", "-", *operands]
        packed = 0

        def send(argv: list[str]) -> int:
            nonlocal packed
            with (
                spawn(argv, stdin=PIPE, stdout=DEVNULL, stderr=there.fd, ask=signal.SIGKILL) as client,
                spawn(tar, stdout=PIPE, stderr=here.fd, env=_environment(), ask=signal.SIGKILL) as packer,
            ):
                _pass_on(packer, client, on_bytes, what)
                _await_end(client, what)
            packed = packer.returncode
            return client.returncode

        _check_guest(guest, guest.session(command, send), there.text(), what)
        if packed and not _only_stray(packed, here.text()):
            raise LagoError(
                f"{what} as a whole, on this host", details=here.text(), hint="all that can be read was copied"
            )


def copy_from(guest: Guest, remote: str, local: str, on_bytes: Count = _ignore) -> None:
    """Copy a file or a tree from a guest, as `scp -r` does: into `local` if that is a directory, else to that name.

    A tree is merged with one that is there. A link of that name is replaced and not followed; a link to a directory is
    refused, unless `local` ends with a slash.

    Raises:
        VMError: it is not there, or can't be read.
        LagoError: it can't be written here, or `local` is a link to a directory; nothing of it is left.
        SSHError: the connection is not there, or was lost.
    """
    if not local.endswith("/"):
        unpacking.check_target(local, f"{guest.name}: {remote} can't be copied to {local}")
    if os.path.isdir(local) or local.endswith("/"):
        directory, name = local, posixpath.basename(posixpath.normpath(remote))
        if name in ("", ".", ".."):
            directory, name = os.path.split(os.path.realpath(local))
    else:
        directory, name = os.path.split(os.path.abspath(local))
    if fetch(guest, {remote: name}, directory, on_bytes):
        raise VMError(
            f"{guest.name}: {remote} is not there, on the guest",
            hint=f"lago shell {guest.name} ls {shlex.quote(posixpath.dirname(remote) or '.')}",
        )


def fetch(guest: Guest, names: Mapping[str, str], directory: str, on_bytes: Count = _ignore) -> list[str]:
    """Copy several files and trees of a guest into a directory of this host, in one stream.

    A tree is merged with one that is there, a link is replaced. Files lose their setuid and setgid bits; devices and
    pipes are left out.

    Args:
        names: by path on the guest, the name to get in `directory`.

    Returns:
        The paths that are not there on the guest.

    Raises:
        VMError: something can't be read there, or the guest sends something else than was asked for.
        LagoError: something can't be written here; nothing of it is left.
        SSHError: the connection is not there, or was lost.
    """
    what = f"{guest.name}: {', '.join(names)} can't be copied to {directory}"
    with unpacking.on_this_host(what), unpacking.tree(directory) as tree:
        found = _unpack(guest, list(names), tree, what, on_bytes)
        parts = [Part(path, told, os.path.join(directory, names[path])) for path, told in found.items()]
        unpacking.distribute(tree, parts, what)
    return [path for path in names if path not in found]


def _unpack(guest: Guest, paths: Sequence[str], tree: str, what: str, on_bytes: Count) -> dict[str, str]:
    """Unpack paths of a guest below `tree`; by path what the guest calls it, without paths that it has not."""
    command = shlex.join(["sh", "-c", _SEND, "sh", *paths])
    tar = ["tar", "-x", "-p", "--no-same-owner", _KEEP, "-f", "-", "-C", tree]
    # It takes memory for a name as long as a guest says that it is.
    limited = ["prlimit", f"--as={_MEMORY}", *tar]
    with _Heard() as here, _Heard() as there:
        told: list[str] = []
        unpacked = 0

        def receive(argv: list[str]) -> int:
            nonlocal told, unpacked
            with spawn(argv, stdout=PIPE, stderr=there.fd, ask=signal.SIGKILL) as client:
                told = _names(client.stdout, paths, what)
                if any(told):
                    with spawn(limited, stdin=PIPE, stderr=here.fd, env=_environment(), ask=signal.SIGKILL) as unpacker:
                        _pass_on(client, unpacker, on_bytes, what)
                    unpacked = unpacker.returncode
                _await_end(client, what)
            return client.returncode

        _check_guest(guest, guest.session(command, receive), there.text(), what)
        if unpacked:
            text = here.text()
            hint = "free some space" if says_full(text) else ""
            raise LagoError(f"{what}, on this host", details=text, hint=hint)
    return {path: name for path, name in zip(paths, told, strict=True) if name}


def _names(stream: IO[bytes] | None, paths: Sequence[str], what: str) -> list[str]:
    """The names that a stream from a guest begins with, one for each path; empty ones if it ends within them.

    Raises:
        VMError: one is longer than a path can be.
    """
    assert stream is not None
    names = []
    for path in paths:
        name = bytearray()
        # What comes after the names is for tar to read.
        while (byte := _read_byte(stream.fileno(), what)) != b"\0":
            name += byte
            if not byte:
                return [""] * len(paths)
            if len(name) > unpacking.LONGEST_NAME:
                raise VMError(f"{what}, on the guest", details=f"{path}: the guest calls it by an endless name")
        names.append(os.fsdecode(bytes(name)))
    return names


def _read_byte(fd: int, what: str) -> bytes:
    if not readable([fd], _IDLE):
        raise _stalled(what)
    return os.read(fd, 1)


def _pass_on(source: Process, sink: Process, on_bytes: Count, what: str) -> None:
    """Give what one process writes to another to read, until one of them has had enough.

    Raises:
        VMError: nothing comes any more, or nothing is taken.
    """
    assert source.stdout is not None
    assert sink.stdin is not None
    with source.stdout, sink.stdin, contextlib.suppress(BrokenPipeError):
        while number := _splice(source.stdout.fileno(), sink.stdin.fileno(), what):
            on_bytes(number)


def _splice(source: int, sink: int, what: str) -> int:
    # It does not wait any more once there is something, and room for it.
    if not readable([source], _IDLE) or not writable([sink], _IDLE):
        raise _stalled(what)
    return os.splice(source, sink, _CHUNK)


def _await_end(client: Process, what: str) -> None:
    """Return when a client has ended. Raises VMError if the guest keeps it."""
    with pidfd(client.pid) as process:
        if not wait_for_end(process, _IDLE):
            raise _stalled(what)


def _stalled(what: str) -> VMError:
    return VMError(f"{what}: nothing went on for {_IDLE:g} s", hint="does the guest still run? lago status")


def _check_guest(guest: Guest, code: int, text: str, what: str) -> None:
    guest.check(code, text)
    if code and not _only_stray(code, text):
        raise VMError(f"{what}, on the guest", details=text or f"exit status {code}")


def _only_stray(code: int, text: str) -> bool:
    """Whether all that tar has to say is that files changed meanwhile, as logs do."""
    if code != 1 or not text or not all(line.endswith(_STRAY) for line in text.splitlines()):
        return False
    LOG.debug("%s", text)
    return True


def _environment() -> dict[str, str]:
    """The environment of tar here: its messages are looked at, and options of the user's own could make it careless."""
    return {**os.environ, "LC_ALL": "C", "TAR_OPTIONS": ""}


class _Heard(Closing):
    """The last lines of what is written to `fd`."""

    def __init__(self) -> None:
        read, self.fd = os.pipe()
        self._kept = b""
        self._is_whole = True
        self._reader = threading.Thread(target=self._read, args=(read,), daemon=True)
        self._reader.start()

    def close(self) -> None:
        """Listen no longer than anybody else has it open."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _read(self, fd: int) -> None:
        with open(fd, "rb", buffering=0) as stream:
            while data := stream.read(_KEPT):
                self._kept += data
                if len(self._kept) > _KEPT:
                    self._kept, self._is_whole = self._kept[-_KEPT:], False

    def text(self) -> str:
        """The lines, when those who write have ended."""
        self.close()
        self._reader.join()
        kept = self._kept if self._is_whole else self._kept.partition(b"\n")[2]
        return kept.decode(errors="replace")
