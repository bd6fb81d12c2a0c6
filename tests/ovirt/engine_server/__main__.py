"""The program: serves the engine's web pages and its image upload until it is ended."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path

from .server import IMAGES, Engine, Server


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(prog="engine_server")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--fqdn", required=True)
    args = parser.parse_args()
    engine = Engine(args.directory, args.fqdn)
    servers = [Server(engine, ("", port)) for port in (443, IMAGES)]
    for one in servers[1:]:
        threading.Thread(target=one.serve_forever, daemon=True).start()
    servers[0].serve_forever()


if __name__ == "__main__":
    main()
