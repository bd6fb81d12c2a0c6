"""Count what a program changes on the disk, or kill it before one of those changes; for `chaos.instants`.

Python imports this first, as its directory is in `PYTHONPATH`. `LAGO_TEST_CHANGE` is the file that the count is written
to, or the number of the change that does not take place any more. The program's own children are let alone.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading

_CHANGES = {
    "os.chmod",
    "os.chown",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "os.truncate",
    "subprocess.Popen",
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def _watch(wish: str) -> None:
    count = 0
    lock = threading.Lock()
    at = int(wish) if wish.isdigit() else -1

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal count
        if event in _CHANGES or (event == "open" and isinstance(args[2], int) and args[2] & _WRITES):
            with lock:
                count += 1
                if count == at:
                    os.kill(os.getpid(), signal.SIGKILL)

    def tell() -> None:
        with open(wish, "w") as file:
            file.write(str(count))

    sys.addaudithook(hook)
    if at < 0:
        atexit.register(tell)


os.environ.pop("PYTHONPATH", None)
if _wish := os.environ.pop("LAGO_TEST_CHANGE", ""):
    _watch(_wish)
