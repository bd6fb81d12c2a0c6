"""The `ProxyCommand` by which any ssh of the host reaches the guests of a private hypervisor.

    ssh ── stdin, stdout ──> this module, which becomes nsenter ──> this module again, inside ──> the guest

Inside of the namespaces it ends with the environment, and so does the ssh. A socket that the host held would keep the
network alive, and its ssh would wait for a machine that is gone.
"""

from __future__ import annotations

import os
import shlex
import socket
import sys
import threading
from typing import Final, NoReturn

from ..errors import LagoError
from ..host import ssh_option, trust
from ..host.pump import pump
from ..paths import Paths
from .dial import reach

_TIMEOUT: Final = 60
_INSIDE: Final = "--inside"


def command(prefix: str) -> str:
    """The value of ssh's `ProxyCommand` for guests of the prefix at `prefix`, whether it runs or not."""
    return f"{ssh_option.command(_argv(prefix))} %h %p"


def _argv(*words: str) -> list[str]:
    return [sys.executable, "-I", "-m", "lago.hypervisor.proxy", *words]


def enter(prefix: str, address: str, port: str) -> NoReturn:
    """Become the one inside. Raises LagoError when the environment does not run."""
    from .private import Private

    paths = Paths(prefix)
    trust.check_prefix(paths)
    hypervisor = Private(trust.read_uuid(paths.uuid()), paths)
    if not hypervisor.running():
        raise LagoError("the environment is not running", hint=f"lago -p {shlex.quote(prefix)} start")
    argv = hypervisor.command(_argv(_INSIDE, address, port))
    os.execvp(argv[0], argv)  # noqa: S606 - an argument list


def relay(address: str, port: int) -> None:
    """Pass standard input to a guest and what it says to standard output, until it has said all. Raises OSError."""
    with reach(address, port, _TIMEOUT) as guest:
        threading.Thread(target=_send, args=(guest,), daemon=True).start()
        pump(guest.fileno(), sys.stdout.fileno())


def _send(guest: socket.socket) -> None:
    pump(sys.stdin.fileno(), guest.fileno())
    guest.shutdown(socket.SHUT_WR)


def main(where: str, address: str, port: str) -> None:
    """Run the program, outside with the path of a prefix, inside with `--inside`."""
    try:
        if where == _INSIDE:
            relay(address, int(port))
        else:
            enter(where, address, port)
    except LagoError as error:
        sys.exit(f"lago: {error.render()}")
    except OSError as error:
        sys.exit(f"lago: {address} port {port}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
