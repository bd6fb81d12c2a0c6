"""The part of `lago.guestfs.extract` that the system's Python runs, a program of its own.

It reads `{"images": [[path, format], ...], "root": ..., "paths": [[path on the guest, path on this host], ...]}` and
writes `{"missing": [paths that are not there]}`. The names on this host must be free.
"""

from __future__ import annotations

import json
import os
import posixpath
import subprocess
import sys
from typing import Any

_NO_FILES = ("swap", "unknown", "")


def mount(guest: Any, root: str) -> None:
    """Mount the file systems of the guest where it has them itself."""
    systems = [name for name, kind in guest.list_filesystems().items() if kind not in _NO_FILES]
    if len(systems) == 1:
        guest.mount_ro(systems[0], "/")
        return
    # It takes long to find out what is in each.
    roots = guest.inspect_os()
    if len(roots) != 1:
        guest.mount_ro(called(root, systems), "/")
        return
    for place, name in sorted(guest.inspect_get_mountpoints(roots[0]).items(), key=lambda one: len(one[0])):
        try:
            guest.mount_ro(name, place)
        except RuntimeError:
            # What a guest's fstab has need not be there.
            if place == "/":
                raise


def called(root: str, systems: list[str]) -> str:
    """The file system whose name is, or else has in it, what was asked for."""
    likely = [name for name in systems if posixpath.basename(name) == root] or [n for n in systems if root in n]
    if len(likely) != 1:
        raise RuntimeError(
            f"which file system is the root can't be told, there are: {', '.join(systems) or 'none'}\n"
            "write its name into the metadata of the first disk: {root-partition: ...}"
        )
    return likely[0]


def copy(guest: Any, path: str, to: str) -> bool:
    """Copy a file or a tree; whether it is there."""
    if not guest.exists(path):
        return False
    real = guest.realpath(path)
    if guest.is_dir(real):
        os.mkdir(to)
        # Nothing may take the place of what came before; `lago.guest.transfer` says why.
        tar = ["tar", "-x", "-p", "--no-same-owner", "--skip-old-files", "-f", "-", "-C", to]
        # Options of the user's own could make it careless.
        # It takes memory for a name as long as a guest says that it is.
        limited = ["prlimit", f"--as={1 << 30}", *tar]
        with subprocess.Popen(limited, stdin=subprocess.PIPE, env={**os.environ, "TAR_OPTIONS": ""}) as unpacker:
            assert unpacker.stdin is not None
            guest.tar_out(real, f"/dev/fd/{unpacker.stdin.fileno()}")
        if unpacker.returncode:
            raise RuntimeError(f"{path} can't be unpacked")
    elif guest.is_file(real):
        guest.download(real, to)
    else:
        raise RuntimeError(f"{path} is neither a file nor a directory")
    found = guest.statns(real)
    os.utime(to, ns=(found["st_atime_sec"] * 10**9, found["st_mtime_sec"] * 10**9 + found["st_mtime_nsec"]))
    os.chmod(to, found["st_mode"] & 0o777)
    return True


def main() -> None:
    """Do what standard input says."""
    import guestfs

    request = json.load(sys.stdin)
    guest = guestfs.GuestFS(python_return_dict=True)
    for image, kind in request["images"]:
        # Never guessed: a guest may have written on a raw disk what looks like an image over any file of this host.
        guest.add_drive_opts(image, format=kind, readonly=1)
    guest.launch()
    mount(guest, request["root"])
    missing = [path for path, to in request["paths"] if not copy(guest, path, to)]
    guest.shutdown()
    json.dump({"missing": missing}, sys.stdout)


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError) as error:
        sys.exit(str(error))
