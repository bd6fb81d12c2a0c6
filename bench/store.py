"""Fetching, unpacking and verifying an image, against `curl`, `xz -d` and `sha256sum` one after another."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from common import LAGO, MIB, compare, finish, options, report, room, say, timed

BUDGET = 1.0
SIZE_MIB = 500
"""Of the packed image."""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """Serve a directory by a process of its own; yields the address."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import store; store.serve(sys.argv[2])"
    argv = [sys.executable, "-c", code, os.path.dirname(os.path.abspath(__file__)), str(directory)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def serve(directory: str) -> None:
    """Serve a directory for ever; the port is printed first."""
    handler: Any = partial(_Quiet, directory=directory)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


def make_image(path: Path, packed_mib: int) -> None:
    """A raw image as a file system has it, packed into `<path>.xz` of about that size, half of it holes."""
    say(f"warm-up: makes an image of {packed_mib} MiB packed")
    argv = ["xz", "-T0", "-0", "--stdout"]
    with (
        open(path.with_name(f"{path.name}.xz"), "wb") as out,
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=out) as xz,
    ):
        assert xz.stdin is not None
        digest = hashlib.sha256()

        def put(block: bytes) -> None:
            digest.update(block)
            xz.stdin.write(block)  # type: ignore[union-attr]

        for _ in range(packed_mib):
            put(os.urandom(MIB))
            put(bytes(MIB))
    path.with_name(f"{path.name}.hash").write_text(digest.hexdigest() + "\n")


def measured(where: Path, url: str) -> float:
    """Seconds of `lago template fetch` into an empty store."""
    document = {
        "name": "bench",
        "sources": {"here": {"type": "http", "args": {"baseurl": url}}},
        "templates": {"image": {"versions": {"1": {"source": "here", "handle": "image", "timestamp": 1}}}},
    }
    (where / "repository.json").write_text(json.dumps(document))
    os.environ["LAGO_TEMPLATE_STORE"] = str(where / "store")
    os.environ["LAGO_TEMPLATE_REPO_PATH"] = str(where / "repository.json")
    seconds = timed(LAGO, "template", "fetch", "image")
    shutil.rmtree(where / "store")
    return seconds


def floor(where: Path, url: str) -> float:
    """Seconds of the programs."""
    packed, image = where / "image.xz", where / "image"
    seconds = timed("curl", "--silent", "--fail", "--output", packed, f"{url}/image.xz")
    seconds += timed("xz", "-d", packed)
    began = time.perf_counter()
    found = subprocess.run(["sha256sum", image], check=True, capture_output=True, text=True).stdout.split()[0]
    seconds += time.perf_counter() - began
    assert found == (where / "www" / "image.hash").read_text().strip()
    image.unlink()
    return seconds


def main() -> int:
    """Measure and report."""
    args = options(__doc__)
    with room() as where:
        www = where / "www"
        www.mkdir()
        make_image(www / "image", SIZE_MIB)
        with served(www) as url:
            name = f"fetch of {SIZE_MIB} MiB"
            result = compare(
                name, partial(measured, where, url), partial(floor, where, url), repeat=args.repeat, budget=BUDGET
            )
        size = (www / "image.xz").stat().st_size
    return report("store", args, [result], warm_up="none", packed_bytes=size)


if __name__ == "__main__":
    finish(main)
