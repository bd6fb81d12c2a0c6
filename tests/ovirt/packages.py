"""Packages that tests are about, made by rpmbuild."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

MACHINE = platform.machine()
FOREIGN = "s390x" if MACHINE != "s390x" else "ppc64le"

_SPEC = """\
Name: {name}
Version: {version}
Release: {release}
{more}
Summary: A package
License: none
%description
A package.
%install
mkdir -p %{{buildroot}}/opt
echo {version} > %{{buildroot}}/opt/{name}
%files
/opt/{name}
"""


_DEFINED = ("-D", "debug_package %{nil}", "-D", "_tmppath %{_topdir}/tmp")
"""Of a build that fails, scripts stay in `_tmppath`."""


class Maker:
    """Makes packages in the directory `place`, each once."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def rpm(self, name: str, version: str = "1.0", *, release: str = "1", epoch: str = "", arch: str = MACHINE) -> Path:
        """A package; a source package for the architecture `src`."""
        made = self._place / f"{name}-{epoch}-{version}-{release}-{arch}"
        if not made.exists():
            more = (f"Epoch: {epoch}\n" if epoch else "") + ("BuildArch: noarch" if arch == "noarch" else "")
            what = ["-bs"] if arch == "src" else ["-bb", f"--target={arch}"]
            # rpmbuild takes % in a path for a macro, and does not quote what it gives to a shell.
            with tempfile.TemporaryDirectory(prefix="lt-", dir="/tmp") as top:
                spec = Path(top, "package.spec")
                spec.write_text(_SPEC.format(name=name, version=version, release=release, more=more))
                subprocess.run(
                    ["rpmbuild", *what, *_DEFINED, "-D", f"_topdir {top}", spec],
                    check=True,
                    capture_output=True,
                )
                [package] = Path(top).glob("*RPMS/**/*.rpm")
                made.mkdir()
                shutil.move(package, made)
        [found] = made.iterdir()
        return found

    def into(self, directory: Path, *packages: Path) -> Path:
        """A directory with copies of packages."""
        directory.mkdir(parents=True, exist_ok=True)
        for package in packages:
            shutil.copy(package, directory)
        return directory

    def repository(self, directory: Path, *packages: Path, compression: str = "gz") -> Path:
        """A directory with copies of packages and the metadata of a repository."""
        self.into(directory, *packages)
        # The one that comes with the library, which knows more compressions than Debian's.
        program = [sys.executable, "-c", "from createrepo_c import createrepo_c; createrepo_c()"]
        options = ["--quiet", "--no-database", f"--general-compress-type={compression}"]
        subprocess.run([*program, *options, directory], check=True)
        return directory


def truncate(path: Path) -> None:
    """Damage a package: only a part of it is there."""
    path.write_bytes(path.read_bytes()[:1500])


def alter(path: Path) -> None:
    """Damage a package so that it has the same size as before."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
