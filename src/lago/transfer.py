"""Copying between this host and a guest, by one tar stream over the shared connection.

What arrives is unpacked beside its target and renamed, so that no target is ever half there. Modes, times and symbolic
links inside of trees are kept, owners are not. Paths that are symbolic links themselves are followed.

A name is any bytes but NUL; as text, those that are no UTF-8 are surrogates, as `os.fsdecode` makes them.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Final

from . import unpacking
from .errors import LagoError, VMError
from .log import LOG
from .ssh import Guest

Count = Callable[[int], object]
"""Called with the number of bytes that have just been passed on."""

_CHUNK: Final = 1 << 20
_MARK: Final = ".lago-complete"
"""Last in a stream to a guest: tar does not notice that one ends early between two files."""

_STRAY: Final = ("changed as we read it", "removed before we read it", "socket ignored")

_FULL: Final = ("No space left on device", "Wrote only", "Disk quota exceeded")

# Both run in whatever the guest has for a shell, with its tar, be that GNU's or busybox's.
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


def _ignored(_number: int) -> None:
    pass


def copy_to(guest: Guest, local: str | Sequence[str], remote: str, on_bytes: Count = _ignored) -> None:
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
        tempfile.TemporaryFile() as here,
        tempfile.TemporaryFile() as there,
    ):
        with open(os.path.join(room, _MARK), "wb"):
            pass
        operands = [word for at, member in [*sources, (room, _MARK)] for word in (f"-C{at}", f"./{member}")]
        tar = ["tar", "-c", "--no-unquote", "-f", "-", *operands]
        packed = 0

        def send(argv: list[str]) -> int:
            nonlocal packed
            with (
                _ended(
                    subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=there)
                ) as client,
                _ended(subprocess.Popen(tar, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=here)) as packer,
            ):
                _pass_on(packer, client, on_bytes)
            packed = packer.returncode
            return client.returncode

        _check_guest(guest, guest.session(command, send), there, what)
        if packed and not _only_stray(packed, _text(here)):
            raise LagoError(
                f"{what} as a whole, on this host", details=_text(here), hint="all that can be read was copied"
            )


def copy_from(guest: Guest, remote: str, local: str, on_bytes: Count = _ignored) -> None:
    """Copy a file or a tree from a guest, as `scp -r` does: into `local` if that is a directory, else to that name.

    A tree is merged with one that is there.

    Raises:
        VMError: it is not there, or can't be read.
        LagoError: it can't be written here; nothing of it is left.
        SSHError: the connection is not there, or was lost.
    """
    if os.path.isdir(local) or local.endswith("/"):
        directory, name = local, posixpath.basename(posixpath.normpath(remote))
    else:
        directory, name = os.path.split(os.path.abspath(local))
    if fetch(guest, {remote: name}, directory, on_bytes):
        raise VMError(
            f"{guest.name}: {remote} is not there, on the guest",
            hint=f"lago shell {guest.name} ls {shlex.quote(posixpath.dirname(remote) or '.')}",
        )


def fetch(guest: Guest, names: Mapping[str, str], directory: str, on_bytes: Count = _ignored) -> list[str]:
    """Copy several files and trees of a guest into a directory of this host, in one stream.

    A tree is merged with one that is there. Files lose their setuid and setgid bits; devices and pipes are left out.

    Args:
        names: by path on the guest, the name to get in `directory`.

    Returns:
        The paths that are not there on the guest.

    Raises:
        VMError: something can't be read there.
        LagoError: something can't be written here; nothing of it is left.
        SSHError: the connection is not there, or was lost.
    """
    what = f"{guest.name}: {', '.join(names)} can't be copied to {directory}"
    try:
        with unpacking.stage(directory) as stage:
            found = _unpack(guest, list(names), stage, what, on_bytes)
            unpacking.tame(stage)
            unpacking.distribute(stage, [(real, os.path.join(directory, names[path])) for path, real in found.items()])
    except OSError as error:
        name = error.filename2 or error.filename
        about = f": {name}" if name else ""
        raise LagoError(f"{what}, on this host", details=f"{error.strerror}{about}") from None
    return [path for path in names if path not in found]


def _unpack(guest: Guest, paths: Sequence[str], stage: str, what: str, on_bytes: Count) -> dict[str, str]:
    """Unpack paths of a guest below `stage`; by path where it is there. Paths that the guest has not are left out."""
    command = shlex.join(["sh", "-c", _SEND, "sh", *paths])
    tar = ["tar", "-x", "-p", "--no-same-owner", "--delay-directory-restore", "-f", "-", "-C", stage]
    with tempfile.TemporaryFile() as here, tempfile.TemporaryFile() as there:
        reals: list[str] = []
        unpacked = 0

        def receive(argv: list[str]) -> int:
            nonlocal reals, unpacked
            with _ended(
                subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=there)
            ) as client:
                reals = _names(client.stdout, len(paths))
                if any(reals):
                    with _ended(subprocess.Popen(tar, stdin=subprocess.PIPE, stderr=here)) as unpacker:
                        _pass_on(client, unpacker, on_bytes)
                    unpacked = unpacker.returncode
            return client.returncode

        _check_guest(guest, guest.session(command, receive), there, what)
        if unpacked:
            text = _text(here)
            full = any(sign in text for sign in _FULL)
            raise LagoError(f"{what}, on this host", details=text, hint="free some space" if full else "")
    return {path: real for path, real in zip(paths, reals, strict=True) if real}


def _names(stream: IO[bytes] | None, number: int) -> list[str]:
    """The names that a stream from a guest begins with; none if it ends within them."""
    data = b""
    while stream and data.count(b"\0") < number and (byte := os.read(stream.fileno(), 1)):
        data += byte
    return [os.fsdecode(name) for name in data.split(b"\0")[:-1]] if data.count(b"\0") == number else [""] * number


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Wait for a process at the end, kill it if that comes by an exception, and close its pipes."""
    try:
        yield process
    except BaseException:
        process.kill()
        raise
    finally:
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def _pass_on(source: subprocess.Popen[bytes], sink: subprocess.Popen[bytes], on_bytes: Count) -> None:
    """Give what one process writes to another to read, until one of them has had enough."""
    assert source.stdout is not None
    assert sink.stdin is not None
    with source.stdout, sink.stdin, contextlib.suppress(BrokenPipeError):
        while number := os.splice(source.stdout.fileno(), sink.stdin.fileno(), _CHUNK):
            on_bytes(number)


def _check_guest(guest: Guest, code: int, said: IO[bytes], what: str) -> None:
    text = _text(said)
    guest.check(code, text)
    if code and not _only_stray(code, text):
        raise VMError(f"{what}, on the guest", details=text or f"exit status {code}")


def _only_stray(code: int, text: str) -> bool:
    """Whether all that tar has to say is that files changed meanwhile, as logs do."""
    if code != 1 or not text or not all(line.endswith(_STRAY) for line in text.splitlines()):
        return False
    LOG.debug("%s", text)
    return True


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
