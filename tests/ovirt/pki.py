"""Certificates for the stand-in of an engine: of an authority of its own, and of the server, signed by that."""

from __future__ import annotations

import subprocess
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30")


def make(directory: Path, fqdn: str) -> None:
    """Make `ca.pem` and `server.pem`, the latter with its key, for a server of the name `fqdn`."""
    own, signed = directory / "own.pem", directory / "signed.pem"
    _openssl(
        *("-keyout", own, "-out", directory / "ca.pem", "-subj", "/O=stand-in/CN=authority of tests"),
        # Python 3.13 and later want to be told (RFC 5280, 4.2.1.3).
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
    )
    # What only ends a chain says so, or the authority's own extensions are taken.
    _openssl(
        *("-CA", directory / "ca.pem", "-CAkey", own, "-keyout", directory / "server.pem", "-out", signed),
        *("-subj", f"/O=stand-in/CN={fqdn}", "-addext", f"subjectAltName=DNS:{fqdn}"),
        *("-addext", "basicConstraints=critical,CA:FALSE"),
    )
    with open(directory / "server.pem", "a") as file:
        file.write(signed.read_text())


def _openssl(*words: str | Path) -> None:
    argv = ["openssl", "req", "-x509", *_KEY, *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
