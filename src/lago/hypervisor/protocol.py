"""How a supervisor is spoken to: one JSON line each way per connection, over `<run>/lago.sock`.

`{"op": "connect", "address": ..., "port": ..., "timeout": seconds}` is answered with `{"ok": true}` and a connected
socket (SCM_RIGHTS); `{"op": "kill", "machine": name}` with `{"ok": true}` when the QEMU of that machine has ended;
`{"op": "stop", "grace": seconds}` by the end of the supervisor. A failure is `{"error": text}`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    import socket

SOCKET_NAME: Final = "lago.sock"
LIBVIRT_SOCKET_NAME: Final = "libvirt-sock"
OWN_DIR: Final = "/run/.lago"
"""What is Lago's own in the private mount namespace, whatever the host has of that name."""

MEMORY_DIR: Final = f"{OWN_DIR}/memory"
"""Where the memory of machines is, in the private mount namespace."""

CARRIERS_DIR: Final = f"{OWN_DIR}/carriers"
"""Where Lago puts states for machines that go back in place; nothing that is confined makes names there."""

NOTIFY: Final = f"{OWN_DIR}/notify"
"""Where libvirtd says that it is ready."""

SOCKETS_DIR: Final = f"{OWN_DIR}/sockets"
"""Where libvirtd has its sockets, in the private mount namespace."""

LIBVIRT_DIR: Final = "libvirt"
"""Directory of the sockets of a libvirtd that is confined, beside ours."""

NETNS_FILE: Final = "/tmp/lago-netns"  # noqa: S108 - in mounts of its own
"""The private network namespace, as the program for the way out finds it; its AppArmor profile may allow no other."""

READY: Final = b"supervisor\n"
"""What a supervisor that has its sockets writes into its lock file, so that it is known when they are gone."""

_MOST: Final = 4096


class Passed(NamedTuple):
    """A file, a directory or a device of this host, by its absolute path, and whether machines may write to it."""

    path: str
    writable: bool


def call(
    path: str, request: dict[str, Any], timeout: float | None = None
) -> tuple[dict[str, Any], socket.socket | None]:
    """Send one request; the answer, and the socket that came with it.

    Raises:
        OSError: nobody listens at `path`, or it did not answer in time.
    """
    import socket

    with connect(path) as client:
        client.settimeout(timeout)
        client.sendall(json.dumps(request).encode() + b"\n")
        data, fds, _flags, _address = socket.recv_fds(client, _MOST, 1)
    if not data:
        raise ConnectionError("the supervisor ended")
    answer: dict[str, Any] = json.loads(data)
    return answer, socket.socket(fileno=fds[0]) if fds else None


def connect(path: str) -> socket.socket:
    """Connect to the supervisor at `path`.

    Raises:
        OSError: nobody listens there.
    """
    # Most environments that are asked about are stopped: there is nothing at the path, and no need of that module.
    os.stat(path)
    import socket

    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        client.connect(path)
    except BaseException:
        client.close()
        raise
    return client


def peer(client: socket.socket) -> tuple[int, int]:
    """Process at the other end, as seen from our pid namespace: its number, and a pidfd, which is to be closed.

    The number is kept from when it began to listen, so it may be that of another process by now. If the connection is
    still open when we have the pidfd, that one had not ended before.

    Raises:
        OSError: it has ended.
    """
    import socket

    data = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", data)[0]
    fd = os.pidfd_open(pid)
    try:
        with contextlib.suppress(BlockingIOError):
            if not client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                raise ConnectionResetError(errno.ECONNRESET, "the supervisor ended")
    except BaseException:
        os.close(fd)
        raise
    return pid, fd


def receive(client: socket.socket) -> dict[str, Any]:
    """Receive one request, on the supervisor's side."""
    data = b""
    while not data.endswith(b"\n"):
        part = client.recv(_MOST)
        if not part or len(data) > _MOST:
            raise ValueError("not a request")
        data += part
    request: dict[str, Any] = json.loads(data)
    return request


def answer(client: socket.socket, reply: dict[str, Any], attached: socket.socket | None = None) -> None:
    """Answer a request, with a socket to hand over."""
    import socket

    data = json.dumps(reply).encode() + b"\n"
    if attached is None:
        client.sendall(data)
    else:
        socket.send_fds(client, [data], [attached.fileno()])


def read_pid(path: str) -> str:
    """Process id that libvirtd wrote down, as text, whatever somebody put there in its place. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(fd, 64).decode("ascii", errors="replace").strip()
    finally:
        os.close(fd)


def runtime_base() -> str:
    """Where this user's sockets live; short, as a socket's path is limited to 107 bytes."""
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given and os.access(given, os.W_OK) and _is_safe(given):
        return os.path.join(given, "lago")
    return "/run/lago" if os.geteuid() == 0 else f"/tmp/lago-{os.geteuid()}"  # noqa: S108 - made with mode 0700


def base_names(uid: int) -> tuple[str, str]:
    """How a directory that `runtime_base` says may be called, for a user."""
    return "lago", f"lago-{uid}"


def _is_safe(directory: str) -> bool:
    """Whether nobody else can put something in the place of what we make in a directory.

    As root one may have that of the user who called sudo in the environment.
    """
    try:
        found = os.stat(directory)
    except OSError:
        return False
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid in (os.geteuid(), 0)
    return ours and (not found.st_mode & 0o022 or bool(found.st_mode & stat.S_ISVTX))
